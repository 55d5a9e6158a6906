"""Where the brain is: in images whose head was removed, and in images of whole heads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acuity.errors import BrainExtractionError
from acuity.volume import RAS_LPS, Volume

# Intracranial volumes of adults lie between about 1000 and 2100 ml, and a newborn's brain measures 350 ml. Less is a
# fragment or a scan that covers too little; more includes the head.
PLAUSIBLE_ML = (300.0, 2500.0)
_MIN_BACKGROUND = 0.15  # of the field of view; at least so much around a stripped brain is one exact value
# Shares of the brain's median intensity. With them the masks of BraTS images shrunk to 2 mm come within 3 % of the
# volume before shrinking; counting every voxel that is not background gives 15 % more.
_HALO_PART = 0.1
_EDGE_PART = 0.3


def is_skull_stripped(volume: Volume) -> bool:
    """Whether the head outside the brain was removed before.

    Three signs are needed. One exact value surrounds the image, where a scanner's air is noise unless the vendor sets
    it to zero. The rest is no larger than a brain can be. And there is no bright scalp over a dark skull at its edge,
    which shows in every MR contrast.
    """
    foreground = _foreground(volume.array)
    if not foreground.any() or (volume.array == border_value(volume.array)).mean() < _MIN_BACKGROUND:
        return False
    if foreground.sum() * volume.grid.voxel_volume > PLAUSIBLE_ML[1]:
        return False
    return not _has_skull(volume, foreground)


def stripped_mask(volume: Volume) -> Volume:
    """The brain in a skull-stripped image (uint8, 0 or 1): the largest part of the foreground, without holes.

    An image shrunk after stripping has a dim edge of voxels that are mostly background. The outermost layer belongs to
    the brain only where it has ``_EDGE_PART`` of the brain's median intensity.

    Raises
    ------
    BrainExtractionError : its volume is not plausible (``PLAUSIBLE_ML``)
    """
    foreground = _foreground(volume.array)
    if not foreground.any():
        raise _failure("The image is empty.")
    signal = np.abs(volume.array - border_value(volume.array))
    edge = foreground & ~ndimage.binary_erosion(foreground)
    foreground &= ~(edge & (signal < _EDGE_PART * np.median(signal[foreground])))
    labels, _ = ndimage.label(foreground)
    return _checked(volume, labels == np.bincount(labels[labels > 0]).argmax())


def extract_brain(volume: Volume) -> Volume:
    """The brain in an image of a whole head (uint8, 0 or 1), by deepbet (Fisch et al., Frontiers in Neuroscience 2024).

    On two cores it takes about ten seconds.

    Parameters
    ----------
    volume : float image, T1, T2 or FLAIR; thick slices too

    Raises
    ------
    BrainExtractionError : nothing is found, or its volume is not plausible (``PLAUSIBLE_ML``)
    """
    image = nib.Nifti1Image(volume.array.astype(np.float32), RAS_LPS @ volume.affine)
    try:
        _, mask, _ = _deepbet().run(image)
    except (AssertionError, ValueError) as error:  # deepbet's ways to say that no voxel is brain
        raise _failure("No brain was found in the image.") from error
    return _checked(volume, np.asarray(mask.dataobj) > 0)


@lru_cache(maxsize=1)
def _deepbet() -> Any:
    # The import loads torch and two TorchScript networks; stripped studies need neither.
    from deepbet import BrainExtraction

    return BrainExtraction()


def _checked(volume: Volume, mask: NDArray[np.bool_]) -> Volume:
    size = float(mask.sum()) * volume.grid.voxel_volume
    low, high = PLAUSIBLE_ML
    if not low <= size <= high:
        raise _failure(f"The brain found measures {size:.0f} ml; plausible are {low:.0f} to {high:.0f} ml.")
    return volume.with_array(mask.astype(np.uint8))


def _failure(found: str) -> BrainExtractionError:
    return BrainExtractionError(
        found,
        rule="A tumor is sought inside the brain only, so the brain must be known.",
        remedy="Check that the series shows a whole brain, or give a skull-stripped study.",
    )


def border_value(array: NDArray[Any]) -> float:
    """The most frequent value on the four sides of the stack."""
    values, counts = np.unique(np.concatenate([array[[0, -1]].ravel(), array[:, [0, -1]].ravel()]), return_counts=True)
    return float(values[counts.argmax()])


def _foreground(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Where the image differs from the border's value, with the holes of each slice filled.

    Shrinking leaves a faint halo around a stripped brain, which ``_HALO_PART`` excludes.
    """
    signal = np.abs(array - border_value(array))
    if not signal.any():
        return np.zeros(array.shape, dtype=bool)
    foreground = signal > _HALO_PART * np.median(signal[signal > 0])
    return np.stack([ndimage.binary_fill_holes(foreground[:, :, k]) for k in range(array.shape[2])], axis=2)


def _has_skull(volume: Volume, foreground: NDArray[np.bool_]) -> bool:
    """Whether a bright layer lies over a dark one at the edge, both less than 2 cm deep."""
    # Depth in each slice: the first and last slices cut the head, they are no edge of it.
    depth = np.stack(
        [
            ndimage.distance_transform_edt(foreground[:, :, k], sampling=volume.spacing[:2])
            for k in range(volume.shape[2])
        ],
        axis=2,
    )
    interior = np.median(volume.array[depth >= 20.0]) if (depth >= 20.0).any() else np.median(volume.array[foreground])
    step = max(3.0, float(volume.spacing[:2].max()))
    medians = [
        np.median(volume.array[band])
        for d in np.arange(0.0, 20.0, step)
        if (band := (depth > d) & (depth <= d + step)).any()
    ]
    outer = np.maximum.accumulate(medians)
    return any(
        value < 0.5 * interior and value < 0.6 * before for before, value in zip(outer[:-1], medians[1:], strict=True)
    )
