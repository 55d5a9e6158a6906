"""Losses of segmentation by region: overlap by MONAI, cross-entropy by torch.

All take logits (N, 3, ...) with any number of axes. Regions overlap, so each has a sigmoid of its own, not a softmax.
Overlap is measured over the whole batch, because many slices do not show a region at all.
"""

from __future__ import annotations

from collections.abc import Callable

from monai.losses import DiceLoss
from torch import Tensor
from torch.nn import functional as F

# From logits and target (N, 3, ...), 0 or 1, to a scalar.
RegionLoss = Callable[[Tensor, Tensor], Tensor]


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - (2 sum pg + 1) / (sum p^2 + sum g^2 + 1), mean over ET, TC, WT: Open BraTS (arXiv:2011.01045)."""
    return DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=1.0, smooth_dr=1.0, batch=True)(logits, target)


def jaccard_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - (I + 1/2) / (U + 1/2) with I = sum pg and U = sum p^2 + sum g^2 - I, mean over ET, TC, WT."""
    loss = DiceLoss(sigmoid=True, squared_pred=True, jaccard=True, smooth_nr=1.0, smooth_dr=1.0, batch=True)
    return loss(logits, target)


def cross_entropy_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, mean over voxels and regions."""
    return F.binary_cross_entropy_with_logits(logits, target)


def dice_cross_entropy_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss plus cross-entropy: the first weighs regions equally, the second has gradients everywhere."""
    return dice_loss(logits, target) + cross_entropy_loss(logits, target)
