"""Real-ESRGAN's sharpened targets of L1 and perceptual loss; its discriminator sees the plain ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RADIUS = 51
WEIGHT = 0.5
THRESHOLD = 10 / 255


def unsharp_mask(image: Tensor, weight: float = WEIGHT, threshold: float = THRESHOLD) -> Tensor:
    """Sharpen an image where its difference from a wide Gaussian blur is more than ``threshold``.

    ``weight`` times the difference is added. Wang et al., "Real-ESRGAN", ICCV Workshops 2021 (arXiv:2107.10833). The
    Gaussian has 51 taps and OpenCV's standard deviation for them, 8.0. It also blurs the mask of where to sharpen.

    Parameters
    ----------
    image : (N, 1, H, W), 0 to 1, H and W at least 26
    """
    residual = image - _blur(image)
    mask = _blur((residual.abs() > threshold).to(image.dtype))
    sharp = (image + weight * residual).clamp(0, 1)
    return mask * sharp + (1 - mask) * image


def _blur(image: Tensor) -> Tensor:
    sigma = 0.3 * ((RADIUS - 1) * 0.5 - 1) + 0.8  # OpenCV's rule
    half = RADIUS // 2
    taps = torch.arange(-half, half + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(image, (half, half, half, half), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.reshape(1, 1, 1, -1)), kernel.reshape(1, 1, -1, 1))
