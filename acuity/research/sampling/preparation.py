"""Preparing stripped brains for training, and how often each is drawn."""

from __future__ import annotations

import logging
from collections.abc import Collection
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from acuity.anatomy import Sequence, labels_to_regions
from acuity.imaging.intensity import LIMIT, zscore
from acuity.imaging.resampling import resample
from acuity.models.segmentation import WORKING_SPACING
from acuity.research.datasets import brats
from acuity.research.datasets.checking import has_working_spacing
from acuity.research.sampling.patches import PreparedCase
from acuity.volume import Volume

logger = logging.getLogger(__name__)


def prepare(name: str, images: dict[Sequence, Volume], labels: Volume) -> PreparedCase:
    """Z-score the four images of a stripped brain over the brain, and cut them to its box."""
    box = brats.brain_box([images[s].array for s in Sequence])
    mask = labels.with_array(brats.brain_mask(images).astype(np.uint8))
    image = np.stack([zscore(images[s], mask).array[box] for s in Sequence]).astype(np.float16)
    return PreparedCase(
        name, torch.from_numpy(image), torch.from_numpy(labels_to_regions(labels.array[box]).astype(np.uint8))
    )


def rescaled(image: Tensor, reference: Tensor) -> Tensor:
    """A brain made of parts of others, each channel rescaled to the mean and the deviation of ``reference``.

    Z-scores depend on the whole brain: if a tumor is taken out, the rest must become brighter and gain contrast.

    Parameters
    ----------
    image, reference : (4, I, J, K), 0 outside the brain; each of a size of its own

    Returns
    -------
    float16
    """
    # In place, and with norms for sums of squares: brains are large, and nearly every step of a training does this.
    brain, values = (image != 0).any(dim=0), image.to(torch.float32, copy=True)
    mean, deviation = _moments(values, brain)
    wanted_mean, wanted_deviation = _moments(reference.float(), (reference != 0).any(dim=0))
    scale = wanted_deviation / deviation.clamp(min=1e-3)
    return values.sub_(mean).mul_(scale).add_(wanted_mean).clamp_(-LIMIT, LIMIT).mul_(brain).half()


def _moments(values: Tensor, brain: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel over the brain, (4, 1, 1, 1). Voxels outside are 0 and add nothing."""
    count = brain.sum()
    mean = values.sum(dim=(1, 2, 3), keepdim=True) / count
    squares = torch.linalg.vector_norm(values, dim=(1, 2, 3), keepdim=True).square()
    return mean, ((squares - count * mean.square()) / (count - 1)).clamp(min=0).sqrt()


def prepare_cases(folder: Path, names: Seq[str]) -> list[PreparedCase]:
    """The named BraTS cases, prepared at WORKING_SPACING.

    Raises
    ------
    DataError : as ``brats.read_case`` and ``read_labels``
    """
    return [
        prepare(name, *at_working_spacing(name, brats.read_case(folder / name), brats.read_labels(folder / name)))
        for name in tqdm(names, desc="reading cases", mininterval=10)
    ]


def at_working_spacing(
    name: str, images: dict[Sequence, Volume], labels: Volume
) -> tuple[dict[Sequence, Volume], Volume]:
    """A case with voxels of WORKING_SPACING, resampled only where it has others, which the log says."""
    grid = labels.grid
    if has_working_spacing(grid):
        return images, labels
    found = " x ".join(f"{size:g}" for size in grid.spacing.round(3))
    logger.warning("%s has voxels of %s mm: resampled to %g mm", name, found, WORKING_SPACING)
    target = grid.with_spacing((WORKING_SPACING,) * 3)
    brain = labels.with_array(brats.brain_mask(images).astype(np.uint8))
    inside = resample(brain, target, interpolation="nearest").array
    # Outside the brain an image stays 0, which interpolation would blur.
    resampled = {s: resample(image, target) for s, image in images.items()}
    return (
        {s: image.with_array(image.array * inside) for s, image in resampled.items()},
        resample(labels, target, interpolation="nearest"),
    )


def grade_weights(cases: Seq[PreparedCase], low_grade: Collection[str], share: float) -> list[float] | None:
    """Probabilities of the cases by which a given share of the draws is of low grade.

    Parameters
    ----------
    low_grade : names of cases of low grade
    share : of the draws, 0 to 1

    Returns
    -------
    Probabilities that sum to 1; None if all cases are of one grade
    """
    low = [case.name in low_grade for case in cases]
    if all(low) or not any(low):
        return None
    return [share / sum(low) if is_low else (1 - share) / (len(low) - sum(low)) for is_low in low]
