"""Overlap lesion by lesion, as the BraTS challenges score since 2023, and agreement of surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acuity.research.metrics.overlap import box_around

if TYPE_CHECKING:
    from panoptica import Panoptica_Evaluator

NSD_TOLERANCE_MM = 1.0
SMALLEST_LESION_MM3 = 50.0
_MERGED = 3  # steps of dilation by which parts of one lesion grow together
_MATCHED_DICE = 1e-6  # two lesions match where they share a voxel, as in the challenges' own configuration


@dataclass(frozen=True)
class LesionOverlap:
    """How well the lesions of a mask agree with those of the truth, one by one.

    Parameters
    ----------
    lesion_dsc : mean of the Dice coefficients of all lesions, 0 to 1. A missed and a false lesion count as 0. Without
        any lesion in both masks it is 1
    lesions_missed, lesions_false : lesions of the truth without a match, and of the mask without one
    nsd : normalized surface Dice, 0 to 1, see ``surface_dice``
    """

    lesion_dsc: float
    lesions_missed: int
    lesions_false: int
    nsd: float


def lesion_overlap(preds: NDArray[np.bool_], target: NDArray[np.bool_], *, spacing: tuple[float, ...]) -> LesionOverlap:
    """Overlap of two masks of one region, lesion by lesion.

    Parts that three steps of dilation join are one lesion, and lesions below SMALLEST_LESION_MM3 are left out, as BraTS
    2023 has it for the truth; here it holds for both masks. Each lesion of the truth is matched with at most one of the
    mask, so that the sum of their Dice coefficients is the largest (panoptica: Kofler et al., arXiv:2312.02608; the
    evaluation of the BraTS challenges of 2025 matches so). Missed and false lesions count as in Moawad et al., "The
    Brain Tumor Segmentation - Metastases Challenge 2023", arXiv:2306.00838.

    Parameters
    ----------
    spacing : of the voxels in mm, along the axes of the masks
    """
    from panoptica import Metric
    from panoptica.metrics import MetricMode

    nsd = surface_dice(preds, target, spacing=spacing)
    lesions = [_lesions(mask, float(np.prod(spacing))) for mask in (preds, target)]
    if not any(labels.any() for labels in lesions):
        return LesionOverlap(1.0, 0, 0, nsd)
    box = box_around(preds, target)
    found = _evaluator().evaluate(*(np.ascontiguousarray(labels[box]) for labels in lesions))["ungrouped"]
    matched = found.get_list_metric(Metric.DSC, MetricMode.ALL) if found.tp else []
    count = found.tp + found.fn + found.fp
    return LesionOverlap(float(np.sum(matched) / count), int(found.fn), int(found.fp), nsd)


def _lesions(mask: NDArray[np.bool_], voxel_mm3: float) -> NDArray[np.uint16]:
    """(I, J, K), the number of each voxel's lesion; 0 outside and in lesions that are too small to count."""
    grown = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 2), iterations=_MERGED)
    parts, _ = ndimage.label(grown, np.ones((3, 3, 3)))
    parts *= mask
    large = np.bincount(parts.ravel()) * voxel_mm3 >= SMALLEST_LESION_MM3
    large[0] = False
    return np.where(large[parts], parts, 0).astype(np.uint16)


def surface_dice(preds: NDArray[np.bool_], target: NDArray[np.bool_], *, spacing: tuple[float, ...]) -> float:
    """Normalized surface Dice (NSD), 0 to 1, by MONAI.

    The share of both borders that lies within NSD_TOLERANCE_MM of the other border (Nikolov et al., arXiv:1809.04430).
    Both masks empty is 1, and one empty is 0.
    """
    if not preds.any() and not target.any():
        return 1.0
    if not preds.any() or not target.any():
        return 0.0
    import torch
    from monai.metrics import compute_surface_dice

    box = box_around(preds, target)
    pair = [torch.from_numpy(mask[box].astype(np.float32))[None, None] for mask in (preds, target)]
    score = compute_surface_dice(
        *pair,
        class_thresholds=[NSD_TOLERANCE_MM],
        include_background=True,
        spacing=list(spacing),
        use_subvoxels=True,
    )
    return float(score)


@cache
def _evaluator() -> Panoptica_Evaluator:
    from panoptica import InputType, MaxBipartiteMatching, Metric, Panoptica_Evaluator
    from panoptica.utils.citation_reminder import disable_citation_reminder

    disable_citation_reminder()  # it prints into the progress bars; the table cites the paper
    return Panoptica_Evaluator(
        expected_input=InputType.UNMATCHED_INSTANCE,
        instance_matcher=MaxBipartiteMatching(matching_metric=Metric.DSC, matching_threshold=_MATCHED_DICE),
        instance_metrics=[Metric.DSC],
        global_metrics=[],
    )
