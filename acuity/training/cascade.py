"""Training the released coarse-to-fine pair: the coarse network first, then the fine one from its weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.data import brats
from acuity.data.augmentation import STANDARD, Augmentation
from acuity.data.patches import PreparedCase
from acuity.data.preparation import prepare_cases
from acuity.data.transplant import OtherBrains, grafts_of
from acuity.data.tumor_free import PHANTOMS, tumor_free_brains
from acuity.inference.segmentation import ONE_VIEW, coarse_to_fine
from acuity.networks.cascade import CoarseToFine
from acuity.training import segmentation
from acuity.training.segmentation_recipe import SegmentationRecipe


def pooled(case: PreparedCase) -> PreparedCase:
    """A case at half its resolution: averages of 2x2x2 voxels, as the coarse network sees it."""
    image = F.avg_pool3d(case.image.float()[None], 2)[0]
    regions = F.avg_pool3d(case.regions.float()[None], 2)[0] >= 0.5
    return PreparedCase(case.name, image.half(), regions.to(torch.uint8))


def train(
    network: CoarseToFine,
    *,
    stage: Literal["coarse", "fine"],
    data: str | None = None,
    folder: str,
    iterations: int,
    patch: Seq[int] = (48, 64, 48),
    learning_rate: float = 2e-3,
    tumor_share: float = 0.6,
    other_share: float = 0.4,
    phantoms: int = PHANTOMS,
    initial_weights: str | None = None,
    ema: float = 0.995,
    seed: int = 0,
    validate_every: int = 250,
    degraded: Seq[str] = (),
    degraded_share: float = 0.5,
    consistency: float = 0.0,
    augmentation: Augmentation = STANDARD,
    train_cases: Seq[PreparedCase] | None = None,
    validation_cases: Seq[PreparedCase] | None = None,
    device: str | None = None,
) -> Path:
    """Train one stage by Dice and cross-entropy, resuming where it was cut.

    Validated and kept are both networks together, as they are released but for the mirrored views; in the coarse stage
    the coarse one alone counts. The weights of the other stage pass through unchanged.

    Parameters
    ----------
    stage : "coarse" (images pooled by 2) or "fine" (full resolution)
    data : folder of BraTS cases, see ``brats.data_folder``
    patch : voxels of the stage's resolution, multiples of 8
    initial_weights : a state_dict of ``network`` to start from
    degraded, degraded_share : files of ``acuity.training.degraded``, and how often their cases stand in
    other_share : patches of brains that are no cases: the healthy halves of cases, mirrored, and ``phantoms`` phantoms,
        each with the tumour of some case or without any
    train_cases, validation_cases : prepared already (tests); else the fixed split is read from ``data``

    The others, and what is raised, are as in ``acuity.training.segmentation.train``.
    """
    if train_cases is None or validation_cases is None:
        split = brats.read_split()
        source = brats.data_folder(data)
        train_cases = prepare_cases(source, split["train"])
        validation_cases = prepare_cases(source, split["validation"])
    variants = segmentation.read_variants(degraded, [case.name for case in train_cases])
    tumor_free = tumor_free_brains(train_cases, phantoms) if other_share else []
    if stage == "coarse":
        tumor_free = [pooled(c) for c in tumor_free]
        train_cases = [pooled(c) for c in train_cases]
        variants = {name: [pooled(c) for c in cases] for name, cases in variants.items()}
    spacing = 2.0 if stage == "coarse" else 1.0
    other = OtherBrains(tumor_free, grafts_of(train_cases, spacing)) if tumor_free else None
    if initial_weights is not None:
        network.load_state_dict(torch.load(initial_weights, map_location="cpu", weights_only=True))
    trained = network.coarse if stage == "coarse" else network.fine

    def release(average: nn.Module) -> nn.Module:
        released = copy.deepcopy(network)
        setattr(released, stage, average)
        if stage == "coarse":
            released.fine_weight = 0.0
        return released

    return segmentation.train(
        SegmentationRecipe(trained, learning_rate=learning_rate, patch=patch), train_cases, validation_cases,
        folder=folder, iterations=iterations, variants=variants, variant_share=degraded_share, consistency=consistency,
        augmentation=augmentation, tumor_share=tumor_share, other=other, other_share=other_share, spacing=spacing,
        ema=ema, seed=seed, validate_every=validate_every, device=device, release=release, logits_of=_one_view,
    )  # fmt: skip


def _one_view(network: nn.Module, image: Tensor) -> Tensor:
    assert isinstance(network, CoarseToFine)
    return coarse_to_fine(image, network, coarse_views=ONE_VIEW, fine_views=ONE_VIEW)
