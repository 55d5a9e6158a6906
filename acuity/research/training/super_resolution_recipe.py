"""The recipe of a super-resolution GAN: what differs between methods that share trainer, data and budget."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import nn

from acuity.research.degradations.random import Draw, draw_bicubic
from acuity.research.losses.adversarial import LEAST_SQUARES, RELATIVISTIC, VANILLA, AdversarialLoss
from acuity.research.recipe_file import read_entry
from acuity.research.training.loop import half_cosine

ADVERSARIAL: dict[str, AdversarialLoss] = {
    "vanilla": VANILLA,
    "relativistic": RELATIVISTIC,
    "least_squares": LEAST_SQUARES,
}


@dataclass(frozen=True)
class LossWeights:
    """Weights of the generator's losses in the adversarial stage; a loss of weight 0 is not computed.

    ``pixel`` is L1; ``cycle`` is L1(degrade(sr), lr), SRResCycGAN's cycle with the known degradation in place of its
    learned inverse; the others are named as in ``acuity.research.losses``.
    """

    pixel: float = 0.0
    perceptual: float = 0.0
    adversarial: float = 0.0
    total_variation: float = 0.0
    cycle: float = 0.0
    best_buddy: float = 0.0
    back_projection: float = 0.0
    rank_content: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """A method.

    Parameters
    ----------
    generator : maps a batch's ``image`` to the size of its ``hr``
    discriminator : (N, 1, H, W) to logits of any shape
    loss_weights : by the names of ``LossWeights``
    adversarial : "vanilla", "relativistic" or "least_squares"
    perceptual_layers : weight of each VGG layer, see ``acuity.research.losses.perceptual``; empty without that loss
    perceptual_distance : "l1" or "mse"
    after_activation : VGG features after the ReLU
    discriminator_view : what it judges: the "image", its "high_pass", or only regions that are not flat ("textured")
    sharpened_target : pixel and perceptual loss compare with the unsharp-masked truth
    ranker : RankSRGAN's, trained before the generator
    degradation : how the low resolution is made: a function of ``acuity.research.degradations.random``
    pixel_learning_rate, learning_rate : of the two stages
    milestones, decay : the adversarial rate is multiplied by ``decay`` at these parts of the stage
    cosine : the adversarial rate falls along half a cosine instead
    """

    generator: nn.Module
    discriminator: nn.Module
    loss_weights: Mapping[str, float]
    adversarial: Literal["vanilla", "relativistic", "least_squares"] = "relativistic"
    perceptual_layers: Mapping[str, float] = field(default_factory=dict)
    perceptual_distance: Literal["l1", "mse"] = "l1"
    after_activation: bool = False
    discriminator_view: Literal["image", "high_pass", "textured"] = "image"
    sharpened_target: bool = False
    ranker: nn.Module | None = None
    degradation: Draw = draw_bicubic
    pixel_learning_rate: float = 5e-4  # published 2e-4, over 1e6 iterations; in thousands the higher rate gets further
    learning_rate: float = 1e-4
    milestones: Seq[float] = ()
    decay: float = 0.5
    cosine: bool = False

    def __post_init__(self) -> None:
        weights = self.weights
        if weights.perceptual and not self.perceptual_layers:
            raise ValueError("the perceptual loss has a weight but no layers")
        if weights.rank_content and self.ranker is None:
            raise ValueError("the rank-content loss has a weight but there is no ranker")

    @property
    def weights(self) -> LossWeights:
        """``loss_weights`` as the class."""
        return LossWeights(**self.loss_weights)

    def adversarial_rate(self, progress: float) -> float:
        """Learning rate at a part of the adversarial stage, 0 to 1."""
        if self.cosine:
            return self.learning_rate * max(1e-3, half_cosine(progress))
        passed = sum(progress >= milestone for milestone in self.milestones)
        return self.learning_rate * self.decay**passed


def read_recipe(path: Path, *, compact: bool, patch: int, ranker: nn.Module | None = None) -> Recipe:
    """A recipe from its YAML file.

    Parameters
    ----------
    compact : networks of a size that a CPU can train, else as published
    patch : size of the truth's patches in pixels, which some discriminators must know
    ranker : for the recipe that needs one

    Raises
    ------
    DataError : the file is absent or not a recipe
    """
    recipe = read_entry(path, compact=compact, patch=patch, ranker=ranker)
    assert isinstance(recipe, Recipe)
    return recipe
