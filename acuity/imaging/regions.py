"""From a network's logits to masks of ET, TC and WT: what is known of tumors, and what held-out cases taught."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from acuity.anatomy import Region

_ET, _TC, _WT = (list(Region).index(region) for region in (Region.ET, Region.TC, Region.WT))
_ONE_MM = 1e-3  # ml of a voxel of 1 mm, which networks see


@dataclass(frozen=True)
class Postprocessing:
    """What is chosen on held-out cases once a network is trained; a bundle's configs/inference.json holds it.

    Parameters
    ----------
    temperatures : of ET, TC and WT, above 0: logits are divided by them, so that probabilities are frequencies (Guo,
        Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017); 1 changes nothing
    thresholds : of ET, TC and WT, 0 to 1: a voxel belongs to a region where its calibrated probability is above
    smallest_part : of the largest part's volume, 0 to 1; parts of the tumor below are left out: lone ones are mostly
        false
    smallest_part_ml : parts below are left out too, even the only one: in a healthy brain all are false
    least_peak : calibrated probability of WT that a part reaches somewhere, or is left out
    least_enhancing_ml : of all ET together; below, it is core that does not enhance. Low-grade tumors mostly have
        none, and a few false voxels cost a case its whole score
    enclosed_core : what the core encloses in a plane is core

    Raises
    ------
    ValueError : a value outside its range, or not one for each region
    """

    temperatures: tuple[float, ...] = (1.0, 1.0, 1.0)
    thresholds: tuple[float, ...] = (0.5, 0.5, 0.5)
    smallest_part: float = 0.1
    smallest_part_ml: float = 0.0
    least_peak: float = 0.0
    least_enhancing_ml: float = 0.0
    enclosed_core: bool = True

    def __post_init__(self) -> None:
        for name in ("temperatures", "thresholds"):  # lists, in JSON
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
            if len(getattr(self, name)) != len(Region):
                raise ValueError(f"{name} are {getattr(self, name)}; one is needed for each of {', '.join(Region)}")
        if min(self.temperatures) <= 0:
            raise ValueError(f"temperatures are {self.temperatures}; they must be above 0")
        shares = {"thresholds": self.thresholds, "smallest_part": [self.smallest_part], "least_peak": [self.least_peak]}
        for name, values in shares.items():
            if not all(0 <= value <= 1 for value in values):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be within 0 to 1")
        for name in ("smallest_part_ml", "least_enhancing_ml"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")


DEFAULT = Postprocessing()  # of models that come without their own


def calibrated(logits: NDArray[np.floating], temperatures: tuple[float, ...]) -> NDArray[np.float32]:
    """Probabilities of logits (3, ...), of ET, TC and WT; where the logit is 0, 0.5 whatever the temperature."""
    divisors = np.asarray(temperatures, dtype=np.float32).reshape(-1, *[1] * (logits.ndim - 1))
    return np.asarray(expit(logits.astype(np.float32) / divisors), dtype=np.float32)


def tidied(
    probabilities: NDArray[np.floating] | NDArray[np.bool_],
    postprocessing: Postprocessing = DEFAULT,
    *,
    voxel_ml: float = _ONE_MM,
) -> NDArray[np.bool_]:
    """What is released: masks (3, I, J, K) of ET, TC and WT.

    Parameters
    ----------
    probabilities : (3, I, J, K), calibrated; masks count as 0 and 1
    voxel_ml : volume of a voxel
    """
    limits = np.asarray(postprocessing.thresholds, dtype=np.float32).reshape(-1, 1, 1, 1)
    found = probabilities > limits
    result = np.zeros_like(found)
    box = mask_box(np.any(found, axis=0))
    if box is None:
        return result
    where = (slice(None), *box)  # the rest of the brain would take ten times as long
    regions = without_doubtful_parts(found[where], probabilities[_WT][box], postprocessing, voxel_ml)
    if postprocessing.enclosed_core:
        regions = with_enclosed_core(regions)
    result[where] = without_little_enhancement(regions, postprocessing.least_enhancing_ml / voxel_ml)
    return result


def without_doubtful_parts(
    regions: NDArray[np.bool_],
    whole: NDArray[np.floating] | NDArray[np.bool_],
    postprocessing: Postprocessing,
    voxel_ml: float = _ONE_MM,
) -> NDArray[np.bool_]:
    """Leave out of (3, I, J, K), ET, TC, WT, the connected parts of the tumor that are too small or too unsure.

    Parameters
    ----------
    whole : (I, J, K), probability of WT
    postprocessing : its ``smallest_part``, ``smallest_part_ml`` and ``least_peak``
    """
    parts, count = ndimage.label(regions.any(axis=0))
    if count == 0:
        return regions
    sizes = np.bincount(parts.ravel())[1:]
    peaks = ndimage.maximum(whole.astype(np.float32), parts, range(1, count + 1))
    kept = (
        (sizes >= postprocessing.smallest_part * sizes.max())
        & (sizes * voxel_ml >= postprocessing.smallest_part_ml)
        & (np.asarray(peaks) >= postprocessing.least_peak)
    )
    return regions & np.concatenate([[False], kept])[parts]


def with_enclosed_core(regions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Count to the core of (3, I, J, K), ET, TC, WT, what it encloses in a plane of any of the three axes.

    Edema lies round the core, so that what a ring of core encloses is necrotic, however like edema it looks.
    """
    box = mask_box(regions[_TC])
    if box is None:
        return regions
    core = regions[_TC][box]
    filled = np.zeros_like(core)
    neighbors = ndimage.generate_binary_structure(3, 1)
    for axis in range(3):
        # Those in the plane alone, so that each plane is filled for itself.
        filled |= ndimage.binary_fill_holes(core, structure=neighbors.take([1], axis=axis))
    result = regions.copy()
    result[_TC][box] = filled
    result[_WT][box] |= filled
    return result


def without_little_enhancement(regions: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """Where ET of (3, I, J, K), ET, TC, WT, has fewer voxels than ``least``, it is core without enhancement."""
    if regions[_ET].sum() >= least:
        return regions
    result = regions.copy()
    result[_TC] |= regions[_ET]
    result[_ET] = False
    return result


def mask_box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """The smallest box that holds all of a mask; None where there is nothing."""
    box = []
    for axis in range(mask.ndim):
        hits = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(hits):
            return None
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(box)
