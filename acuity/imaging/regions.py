"""From a network's logits to masks of ET, TC and WT, by choices that were made on held-out cases."""

from __future__ import annotations

from dataclasses import InitVar, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from acuity.anatomy import Region

_ONE_MM = 1e-3  # ml of a voxel of 1 mm, the networks' own


@dataclass(frozen=True)
class Postprocessing:
    """Choices made on held-out cases after the training; a bundle's configs/inference.json holds them.

    Parameters
    ----------
    temperatures : of ET, TC and WT, above 0; logits are divided by them, so that probabilities are frequencies (Guo,
        Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017); 1 changes nothing
    thresholds : of ET, TC and WT, 0 to 1; a voxel belongs to a region where its calibrated probability is above
    smallest_part : 0 to 1; connected parts of the tumor below this share of the largest part's volume are removed,
        because most of them are false
    smallest_part_ml : parts below this volume are removed too, even the only one: healthy brains have no true part
    least_enhancing_ml : enhancing tumor of less volume in all is taken for core without enhancement: a few voxels of it
        are vessels more often than tumor, above all in gliomas of low grade
    least_peak, enclosed_core : steps that are gone; released bundles name them, switched off

    Raises
    ------
    ValueError : a value outside its range, not one value for each region, or a step that is gone and not switched off
    """

    temperatures: tuple[float, ...] = (1.0, 1.0, 1.0)
    thresholds: tuple[float, ...] = (0.5, 0.5, 0.5)
    smallest_part: float = 0.05
    smallest_part_ml: float = 0.5
    least_enhancing_ml: float = 0.3
    least_peak: InitVar[float] = 0.0
    enclosed_core: InitVar[bool] = False

    def __post_init__(self, least_peak: float, enclosed_core: bool) -> None:
        gone = {"least_peak": least_peak, "enclosed_core": enclosed_core}
        for name, value in gone.items():
            if value:
                raise ValueError(f"{name} is {value}; that step is gone: remove it, or take a bundle of 0.8.0 or later")
        for name in ("temperatures", "thresholds"):  # lists, in JSON
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
            if len(getattr(self, name)) != len(Region):
                raise ValueError(f"{name} are {getattr(self, name)}; one is needed for each of {', '.join(Region)}")
        if min(self.temperatures) <= 0:
            raise ValueError(f"temperatures are {self.temperatures}; they must be above 0")
        for name, values in (("thresholds", self.thresholds), ("smallest_part", [self.smallest_part])):
            if not all(0 <= value <= 1 for value in values):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be within 0 to 1")
        for name in ("smallest_part_ml", "least_enhancing_ml"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")


# Of models without their own: the released sizes of parts. Temperatures and thresholds belong to one network.
DEFAULT = Postprocessing()


def calibrated(logits: NDArray[np.floating], temperatures: tuple[float, ...]) -> NDArray[np.float32]:
    """Probabilities of logits (3, ...) of ET, TC and WT; a logit of 0 is 0.5 at any temperature."""
    divisors = np.asarray(temperatures, dtype=np.float32).reshape(-1, *[1] * (logits.ndim - 1))
    return np.asarray(expit(logits.astype(np.float32) / divisors), dtype=np.float32)


def tidied(
    probabilities: NDArray[np.floating] | NDArray[np.bool_],
    postprocessing: Postprocessing = DEFAULT,
    *,
    voxel_ml: float = _ONE_MM,
) -> NDArray[np.bool_]:
    """The released masks (3, I, J, K) of ET, TC and WT: above the thresholds, without small parts.

    Parameters
    ----------
    probabilities : (3, I, J, K), calibrated; masks count as 0 and 1
    voxel_ml : volume of a voxel
    """
    limits = np.asarray(postprocessing.thresholds, dtype=np.float32).reshape(-1, 1, 1, 1)
    regions = probabilities > limits
    parts, count = ndimage.label(regions.any(axis=0))
    if count == 0:
        return regions
    sizes = np.bincount(parts.ravel())[1:]
    kept = (sizes >= postprocessing.smallest_part * sizes.max()) & (sizes * voxel_ml >= postprocessing.smallest_part_ml)
    regions &= np.concatenate([[False], kept])[parts]
    if regions[0].sum() * voxel_ml < postprocessing.least_enhancing_ml:
        regions[1] |= regions[0]
        regions[0] = False
    return regions


def mask_box(mask: NDArray[np.bool_], margin: int = 0) -> tuple[slice, ...] | None:
    """The smallest box that holds all of a mask, with ``margin`` voxels around it as far as there are any.

    Returns
    -------
    A slice for each axis; None for an empty mask
    """
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return None
    return tuple(
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, size in zip(boxes[0], mask.shape, strict=True)
    )


def part_boxes(mask: NDArray[np.bool_], *, smallest: int = 1, margin: int = 0) -> list[tuple[slice, ...]]:
    """Boxes round the connected parts (26 neighbors) of a mask; boxes that overlap are joined.

    Parameters
    ----------
    smallest : voxels; smaller parts are left out
    margin : voxels around each part, as far as there are any
    """
    parts, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    sizes = np.bincount(parts.ravel())[1:]
    boxes: list[tuple[slice, ...]] = []
    for part, size in zip(ndimage.find_objects(parts), sizes, strict=True):
        if size < smallest:
            continue
        box = tuple(
            slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, n in zip(part, mask.shape, strict=True)
        )
        while overlapping := [other for other in boxes if _overlap(box, other)]:
            boxes = [other for other in boxes if other not in overlapping]
            ends = list(zip(box, *overlapping, strict=True))
            box = tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in ends)
        boxes.append(box)
    return boxes


def _overlap(one: tuple[slice, ...], other: tuple[slice, ...]) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))
