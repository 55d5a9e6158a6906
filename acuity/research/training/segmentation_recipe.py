"""The recipe of a segmentation network: what differs between methods that share trainer, data and budget."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pytorch_optimizer import Ranger
from torch import nn

from acuity.research.losses.segmentation import RegionLoss, dice_cross_entropy_loss
from acuity.research.recipe_file import read_entry
from acuity.research.training.loop import cosine

WARMUP = 50  # iterations


@dataclass(frozen=True)
class Recipe:
    """A method.

    Parameters
    ----------
    network : (N, 4, I, J, K) to logits (N, 3, I, J, K). In training it may give logits of the patch's middle only, or
        a list of logits, whose losses are averaged
    loss : of logits and target: a function of ``acuity.research.losses.segmentation`` (Dice, Jaccard, cross-entropy)
    optimizer : "adamw", or "ranger" as Open BraTS has it
    learning_rate : after the warm-up
    constant_share : part of the iterations at that rate, before it falls along half a cosine
    patch : voxels along i, j, k. Networks of axial slices have 1 along k, or as many slices as they see at once
    batch : patches of a step and process
    """

    network: nn.Module
    loss: RegionLoss = dice_cross_entropy_loss
    optimizer: Literal["adamw", "ranger"] = "adamw"
    learning_rate: float = 2e-3
    constant_share: float = 0.0
    patch: Seq[int] = (64, 80, 64)
    batch: int = 1

    def __post_init__(self) -> None:
        if self.optimizer not in ("adamw", "ranger"):
            raise ValueError(f"the optimizer is {self.optimizer!r}; there are 'adamw' and 'ranger'")
        if len(self.patch) != 3:
            raise ValueError(f"the patch is {tuple(self.patch)}; it has three sizes")

    def rate(self, iteration: int, iterations: int) -> float:
        """Learning rate of an iteration."""
        plateau = max(0, round(self.constant_share * iterations) - WARMUP)
        n = max(min(iteration, WARMUP), iteration - plateau)
        return self.learning_rate * cosine(n, iterations - plateau, WARMUP)

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer by its name."""
        if self.optimizer == "ranger":
            # Rectified Adam, Lookahead and gradient centralization. The variance of its first steps cannot be rectified
            # yet: they follow the momentum alone, as in the code of Open BraTS.
            return Ranger(
                parameters,
                lr=self.learning_rate,
                betas=(0.95, 0.999),
                eps=1e-5,
                k=6,
                alpha=0.5,
                use_gc=True,
                degenerated_to_sgd=True,
            )
        return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=1e-5)


def read_recipe(path: Path, *, compact: bool) -> Recipe:
    """A recipe from its YAML file.

    Parameters
    ----------
    compact : a network of a size that a CPU can train, else as published

    Raises
    ------
    DataError : the file is absent or not a recipe
    """
    recipe = read_entry(path, compact=compact, pretrained=True)
    assert isinstance(recipe, Recipe)
    return recipe
