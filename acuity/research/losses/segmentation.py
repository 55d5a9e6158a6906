"""Losses of segmentation by region: overlap by MONAI, cross-entropy by torch, and agreement of two predictions.

All take logits (N, 3, ...) of any number of axes. Regions overlap, so that each is a question of its own: sigmoid, not
softmax. Overlap is that of the whole batch: a slice without a region has no overlap of its own to speak of.
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
    """The same with intersection over union: 1 - (I + 1/2) / (U + 1/2), I = sum pg, U = sum p^2 + sum g^2 - I."""
    loss = DiceLoss(sigmoid=True, squared_pred=True, jaccard=True, smooth_nr=1.0, smooth_dr=1.0, batch=True)
    return loss(logits, target)


def cross_entropy_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, mean over voxels and regions."""
    return F.binary_cross_entropy_with_logits(logits, target)


def dice_cross_entropy_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Dice and cross-entropy together: the one counts regions alike, the other has gradients everywhere."""
    return dice_loss(logits, target) + cross_entropy_loss(logits, target)
