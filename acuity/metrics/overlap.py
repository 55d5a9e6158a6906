"""Overlap of masks by region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dice(preds: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    """Dice similarity coefficient 2|P and T| / (|P| + |T|), 0 to 1.

    Both empty is 1 and one empty is 0, BraTS's rule for absent regions.
    """
    total = int(preds.sum()) + int(target.sum())
    return 1.0 if total == 0 else float(2 * np.logical_and(preds, target).sum() / total)


def hausdorff95(preds: NDArray[np.bool_], target: NDArray[np.bool_], *, spacing: tuple[float, ...]) -> float:
    """The 95th percentile of the symmetric surface distance in mm (HD95), by MONAI.

    Both empty is 0; one empty is 373.13 mm, the diagonal of a 240x240x155 volume, BraTS's penalty.
    """
    if not preds.any() and not target.any():
        return 0.0
    if not preds.any() or not target.any():
        return 373.12866
    import torch
    from monai.metrics import compute_hausdorff_distance

    box = np.argwhere(preds | target)
    low, high = np.maximum(box.min(axis=0) - 1, 0), box.max(axis=0) + 2
    crop = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    pair = [torch.from_numpy(m[crop].astype(np.float32))[None, None] for m in (preds, target)]
    return float(compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=list(spacing)))
