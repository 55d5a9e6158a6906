"""Blur kernels of the practical degradation models, and blurring with them.

BSRGAN: Zhang, Liang, Van Gool, Timofte, ICCV 2021 (arXiv:2103.14006). Real-ESRGAN: Wang, Xie, Dong, Shan, ICCV
Workshops 2021 (arXiv:2107.10833). A kernel is a float32 (size, size) tensor whose sum is 1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.special import j1
from torch import Tensor
from torch.nn import functional as F

Shape = Literal["gaussian", "generalized", "plateau"]
_SMALLEST_SIGMA = 0.01  # pixels; the kernel is then one pixel, and nothing is divided by 0


def gaussian_kernel(
    size: int,
    sigmas: tuple[float, float],
    angle: float = 0.0,
    *,
    shape: Shape = "gaussian",
    beta: float = 1.0,
    shift: float = 0.0,
) -> Tensor:
    """A kernel that decreases with the Mahalanobis distance q = x' S^-1 x.

    Parameters
    ----------
    size : odd
    sigmas : standard deviations in pixels along the first and the second axis of the ellipse
    angle : of the first axis from W toward H, in radians
    shape : "gaussian" is exp(-q / 2), "generalized" exp(-q^beta / 2), "plateau" 1 / (1 + q^beta)
    shift : of the center along H and W, in pixels
    """
    x, y = _grid(size, shift)
    along, across = (max(sigma, _SMALLEST_SIGMA) for sigma in sigmas)
    first = (np.cos(angle) * x + np.sin(angle) * y) / along
    second = (-np.sin(angle) * x + np.cos(angle) * y) / across
    q = first**2 + second**2
    if shape == "plateau":
        return _normalized(1 / (1 + q**beta))
    return _normalized(np.exp(-0.5 * (q if shape == "gaussian" else q**beta)))


def sinc_kernel(size: int, cutoff: float) -> Tensor:
    """The circular low-pass filter by which Real-ESRGAN makes ringing: cutoff * J1(cutoff * r) / (2 pi r).

    Parameters
    ----------
    size : odd
    cutoff : angular frequency in radians per pixel, pi at most
    """
    x, y = _grid(size, 0.0)
    r = np.hypot(x, y)
    center = size // 2
    r[center, center] = 1.0
    kernel = cutoff * j1(cutoff * r) / (2 * np.pi * r)
    kernel[center, center] = cutoff**2 / (4 * np.pi)
    return _normalized(kernel)


def blur(image: Tensor, kernel: Tensor) -> Tensor:
    """Convolve (N, C, H, W) with one kernel (k, k), edges mirrored."""
    half = kernel.shape[-1] // 2
    # An image smaller than half a kernel cannot be mirrored that far.
    mode = "reflect" if min(image.shape[-2:]) > half else "replicate"
    padded = F.pad(image, (half, half, half, half), mode=mode)
    # By Fourier transform, which on a CPU is forty times faster than conv2d for 25x25 and one channel.
    height, width = padded.shape[-2:]
    size = (next_fast_len(height, real=True), next_fast_len(width, real=True))
    product = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernel.to(image), s=size)
    return torch.fft.irfft2(product, s=size)[..., 2 * half : height, 2 * half : width]


def _grid(size: int, shift: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if size % 2 == 0:
        raise ValueError(f"size is {size}; a kernel has a middle, so its size is odd")
    steps = np.arange(size) - size // 2 - shift
    x, y = np.meshgrid(steps, steps)
    return x, y


def _normalized(kernel: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy((kernel / kernel.sum()).astype(np.float32))
