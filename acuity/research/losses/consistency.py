"""Losses that degrade a super-resolved image and compare it with the low resolution."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from acuity.imaging.forward_model import resize_cubic


def cycle_loss(sr: Tensor, lr: Tensor, degrade: Callable[[Tensor], Tensor]) -> Tensor:
    """L1 of degrade(sr) and lr: SRResCycGAN's cycle (Umer and Micheloni 2020, arXiv:2009.03693).

    Parameters
    ----------
    sr : (N, C, H, W)
    lr : (N, C, h, w)
    degrade : maps ``sr`` to the size of ``lr``: a learned network or the known degradation
    """
    return F.l1_loss(degrade(sr), lr)


def back_projection_loss(sr: Tensor, lr: Tensor) -> Tensor:
    """L1 of the antialiased cubic shrinking of sr and lr: Beby-GAN's (Li et al. 2021, arXiv:2103.15295).

    Parameters
    ----------
    sr : (N, C, H, W)
    lr : (N, C, h, w); outer faces coincide
    """
    size = (lr.shape[-2], lr.shape[-1])
    ratios = (sr.shape[-2] / size[0], sr.shape[-1] / size[1])
    return cycle_loss(sr, lr, lambda image: resize_cubic(image, size, ratios))
