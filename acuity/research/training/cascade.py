"""Training the released coarse-to-fine pair, one part after the other."""

from __future__ import annotations

import copy
from collections.abc import Sequence as Seq
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.errors import any_as_data_error
from acuity.models.segmentation import ONE_VIEW, coarse_to_fine
from acuity.networks.cascade import CoarseToFine, part_state
from acuity.research.datasets import brats
from acuity.research.losses.segmentation import RegionLoss, dice_cross_entropy_loss
from acuity.research.sampling.augmentation import STANDARD, Augmentation
from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import prepare_cases
from acuity.research.synthetic.transplant import OtherBrains, grafts_of
from acuity.research.synthetic.tumor_free import PHANTOMS, tumor_free_brains
from acuity.research.training import segmentation
from acuity.research.training.segmentation_recipe import SegmentationRecipe


def pooled(case: PreparedCase) -> PreparedCase:
    """A case at half its resolution: averages of 2x2x2 voxels, as the coarse network sees it."""
    image = F.avg_pool3d(case.image.float()[None], 2)[0]
    regions = F.avg_pool3d(case.regions.float()[None], 2)[0] >= 0.5
    return PreparedCase(case.name, image.half(), regions.to(torch.uint8))


def train(
    network: CoarseToFine,
    *,
    part: str,
    data: str | None = None,
    fold: int | None = None,
    folder: str,
    iterations: int,
    patch: Seq[int] = (48, 64, 48),
    batch: int = 1,
    loss: RegionLoss = dice_cross_entropy_loss,
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
    frozen_statistics: bool = False,
    device: str | None = None,
) -> Path:
    """Train one part, resuming where it was cut.

    Validated and kept are both networks together, as they are released but for the mirrored views; while the coarse
    network is trained it alone counts, and a member of an ensemble stands for all its stage. The weights of the other
    stage pass through unchanged. ``load_part`` puts what is kept into a network.

    Parameters
    ----------
    part : "coarse" (images pooled by 2), "fine" (full resolution), or a member of either's ensemble, such as
        "fine.networks.0"
    data : folder of BraTS cases, see ``brats.data_folder``
    fold : of ``brats.read_folds``, which is validated on; all other cases but those of test are trained on, and the
        last weights are kept. None trains and validates on the fixed split's
    patch : voxels of the stage's resolution, multiples of 8, but across slices, where they are as many as one sees
    batch : patches of a step
    initial_weights : a state_dict of ``network`` to start from
    degraded, degraded_share : files of ``acuity.research.training.degraded``, and how often their cases stand in
    other_share : patches of brains that are no cases: the healthy halves of cases, mirrored, and ``phantoms`` phantoms,
        each with the tumor of some case or without any
    train_cases, validation_cases : prepared already (tests); else they are read from ``data``

    The others, and what is raised, are as in ``acuity.research.training.segmentation.train``.
    """
    if train_cases is None or validation_cases is None:
        split = brats.read_split()
        names, held_out = (split["train"], split["validation"]) if fold is None else brats.without_fold(fold)
        source = brats.data_folder(data)
        train_cases = prepare_cases(source, names)
        validation_cases = prepare_cases(source, held_out)
    variants = segmentation.read_variants(degraded, [case.name for case in train_cases])
    tumor_free = tumor_free_brains(train_cases, phantoms) if other_share else []
    stage = part.split(".")[0]
    if stage == "coarse":
        tumor_free = [pooled(c) for c in tumor_free]
        train_cases = [pooled(c) for c in train_cases]
        variants = {name: [pooled(c) for c in cases] for name, cases in variants.items()}
    spacing = 2.0 if stage == "coarse" else 1.0
    other = OtherBrains(tumor_free, grafts_of(train_cases, spacing)) if tumor_free else None
    if initial_weights is not None:
        network.load_state_dict(torch.load(initial_weights, map_location="cpu", weights_only=True))

    def release(average: nn.Module) -> nn.Module:
        released = copy.deepcopy(network)
        setattr(released, stage, average)
        if stage == "coarse":
            released.fine_weight = 0.0
        return released

    recipe = SegmentationRecipe(
        network.get_submodule(part), loss, learning_rate=learning_rate, patch=patch, batch=batch
    )
    return segmentation.train(
        recipe,
        train_cases,
        validation_cases,
        folder=folder,
        iterations=iterations,
        variants=variants,
        variant_share=degraded_share,
        consistency=consistency,
        augmentation=augmentation,
        tumor_share=tumor_share,
        other=other,
        other_share=other_share,
        spacing=spacing,
        ema=ema,
        seed=seed,
        validate_every=validate_every,
        keep_last=fold is not None,
        frozen_statistics=frozen_statistics,
        device=device,
        release=release,
        logits_of=_one_view,
    )


def load_part(network: CoarseToFine, part: str, weights: str | Path) -> None:
    """Load one part from a file of weights.

    Parameters
    ----------
    part : as ``train`` takes it
    weights : a state_dict as ``acuity.networks.cascade.part_state`` takes it

    Raises
    ------
    DataError : a file that holds no weights of the part
    """
    with any_as_data_error(
        f"{weights} does not hold weights of the part {part}",
        rule="They are a state_dict of the whole network, or of the part alone, of the size that is defined.",
        remedy="Name the best.pt of the part's training, or change the network's definition.",
    ):
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network.get_submodule(part).load_state_dict(part_state(state, part))


def _one_view(network: nn.Module, image: Tensor) -> Tensor:
    assert isinstance(network, CoarseToFine)
    return coarse_to_fine(image, network, coarse_views=ONE_VIEW, fine_views=ONE_VIEW)
