"""Losses and filters on pixels, in addition to torch's ``l1_loss`` and ``mse_loss``."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def gradients(image: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences of (N, C, H, W) along H and W."""
    return image[..., 1:, :] - image[..., :-1, :], image[..., :, 1:] - image[..., :, :-1]


def total_variation_loss(preds: Tensor, target: Tensor) -> Tensor:
    """L1 distance of the gradients of two images: SRResCGAN's total-variation term."""
    pairs = zip(gradients(preds), gradients(target), strict=True)
    return sum((F.l1_loss(p, t) for p, t in pairs), start=preds.new_zeros(()))


def high_pass(image: Tensor, kernel_size: int = 9) -> Tensor:
    """(N, C, H, W) minus its moving average: all that SRResCGAN's discriminator sees."""
    pad = kernel_size // 2
    padded = F.pad(image, (pad, pad, pad, pad), mode="reflect")
    return image - F.avg_pool2d(padded, kernel_size, stride=1)
