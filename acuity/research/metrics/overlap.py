"""Overlap of masks by region, by two rules for regions that are not there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from acuity.imaging.regions import mask_box

ABSENT_MM = 373.12866  # BraTS's HD95 where one of two masks is empty: the diagonal of 240x240x155 voxels of 1 mm


@dataclass(frozen=True)
class Overlap:
    """How well a mask agrees with the truth.

    Parameters
    ----------
    dsc : Dice similarity coefficient, 0 to 1
    iou : intersection over union (Jaccard index), 0 to 1
    hd95_mm : 95th percentile of the symmetric surface distance, mm

    Each may be NaN by the rule of ``present_overlap``: it is then left out of means.
    """

    dsc: float
    iou: float
    hd95_mm: float


def brats_overlap(preds: NDArray[np.bool_], target: NDArray[np.bool_], *, spacing: tuple[float, ...]) -> Overlap:
    """Overlap by BraTS's rule for absent regions: both empty is perfect (1, 1, 0), one empty is (0, 0, ABSENT_MM).

    A few false voxels of a region that the truth lacks thus cost a case all of that region.

    Parameters
    ----------
    spacing : of the voxels in mm, along the axes of the masks
    """
    return Overlap(dice(preds, target), jaccard(preds, target), hausdorff95(preds, target, spacing=spacing))


def present_overlap(overlap: Overlap, preds: NDArray[np.bool_], target: NDArray[np.bool_]) -> Overlap:
    """``brats_overlap`` by what we take to be the rule of J. Guerreiro's thesis, which does not spell it out.

    It averages DSC and IoU over the classes that are present in the truth: where ``target`` is empty, both are NaN.
    HD95 is NaN where either mask is empty, since no distance is defined then.
    """
    if not target.any():
        return Overlap(math.nan, math.nan, math.nan)
    return overlap if preds.any() else replace(overlap, hd95_mm=math.nan)


def dice(preds: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    """Dice similarity coefficient 2|P and T| / (|P| + |T|), 0 to 1.

    Both empty is 1 and one empty is 0, BraTS's rule for absent regions.
    """
    total = int(preds.sum()) + int(target.sum())
    return 1.0 if total == 0 else float(2 * np.logical_and(preds, target).sum() / total)


def jaccard(preds: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    """Intersection over union |P and T| / |P or T|, 0 to 1; of absent regions as ``dice``."""
    union = int(np.logical_or(preds, target).sum())
    return 1.0 if union == 0 else float(np.logical_and(preds, target).sum() / union)


def hausdorff95(preds: NDArray[np.bool_], target: NDArray[np.bool_], *, spacing: tuple[float, ...]) -> float:
    """The 95th percentile of the symmetric surface distance in mm (HD95), by MONAI.

    The larger of the percentiles of the distances from each mask's border voxels to the other's. Both empty is 0; one
    empty is ABSENT_MM, BraTS's penalty.
    """
    if not preds.any() and not target.any():
        return 0.0
    if not preds.any() or not target.any():
        return ABSENT_MM
    import torch
    from monai.metrics import compute_hausdorff_distance

    crop = box_around(preds, target)
    pair = [torch.from_numpy(m[crop].astype(np.float32))[None, None] for m in (preds, target)]
    return float(compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=list(spacing)))


def box_around(preds: NDArray[np.bool_], target: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The box of both masks, which are not both empty, with a voxel around it as far as there is one."""
    box = mask_box(preds | target, 1)
    assert box is not None
    return box
