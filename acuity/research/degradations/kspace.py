"""How an MR scanner loses resolution in k-space.

Images are magnitudes, (..., H, W), at least 0. Every function keeps the mean signal: a flat image does not change.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def truncate_kspace(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Keep the center of k-space: the low resolution that a shorter scan would have measured.

    The paper makes its low resolution of fastMRI data in this way. The outer faces of the first pixels coincide, as in
    ``resize_cubic``, because a scanner with a smaller matrix keeps the field of view.

    Parameters
    ----------
    image : (..., H, W)
    size : (h, w) of the result, at most (H, W)

    Returns
    -------
    (..., h, w), the magnitude
    """
    for axis, n in zip((-2, -1), size, strict=True):
        full = image.shape[axis]
        if not 0 < n <= full:
            raise ValueError(f"{n} of {full} lines are to be kept; 1 to {full} can be")
    spectrum = torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1))
    for axis, n in zip((-2, -1), size, strict=True):
        full = spectrum.shape[axis]
        frequencies = torch.arange(n, device=image.device) - n // 2
        # The transform centers the first new pixel on the first old one; it belongs (full / n - 1) / 2 pixels inward.
        ramp = torch.polar(torch.ones(n, device=image.device), math.pi * (1 / n - 1 / full) * frequencies)
        shape = (-1, 1) if axis == -2 else (-1,)
        spectrum = spectrum.narrow(axis, full // 2 - n // 2, n) * ramp.reshape(shape) * (n / full)
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).abs()


def gibbs_ringing(image: Tensor, fractions: tuple[float, float]) -> Tensor:
    """Zero k-space beyond the central ``fractions`` along H and W, on the same grid.

    This gives blur and Gibbs ringing, as a scanner's zero-filled interpolation does. The result is the magnitude.
    """
    height, width = (_central(n, f, image) for n, f in zip(image.shape[-2:], fractions, strict=True))
    return torch.fft.ifft2(torch.fft.fft2(image) * (height[:, None] * width)).abs()


def partial_fourier(image: Tensor, fraction: float, axis: int = -2) -> Tensor:
    """Zero the last lines of k-space along one axis, as of phase encodings that a scan skips.

    A frequency that loses one of its two halves keeps half of its amplitude.

    Parameters
    ----------
    fraction : of the lines, above 0.5 to 1; scanners use 5/8 to 7/8
    axis : -2 (H) or -1 (W), the direction of phase encoding

    Returns
    -------
    (..., H, W), the magnitude
    """
    if not 0.5 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}; more than half of k-space is measured, 1 at most")
    n = image.shape[axis]
    beyond = max(1, round(fraction * n) - n // 2)  # the first frequency left out; never the mean
    mask = (torch.fft.fftfreq(n, 1 / n, device=image.device) < beyond).to(image.dtype)
    return torch.fft.ifft2(torch.fft.fft2(image) * (mask[:, None] if axis == -2 else mask)).abs()


def _central(n: int, fraction: float, image: Tensor) -> Tensor:
    """1 at the frequencies below ``fraction`` of the highest one, 0 above; in the order of ``fft``."""
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}; a part of k-space is above 0 and at most 1")
    return (torch.fft.fftfreq(n, device=image.device).abs() <= fraction / 2).to(image.dtype)
