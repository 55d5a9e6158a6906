"""Degradations: pure functions from a high-resolution image to a low-resolution one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CUBIC_A = -0.5  # Keys 1981, the kernel of MATLAB's imresize and of PIL


def cubic_kernel(x: NDArray[np.float64], a: float = CUBIC_A) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel, support 4 (IEEE Trans. ASSP 29(6), 1981)."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@lru_cache(maxsize=256)
def resize_matrix(size_in: int, size_out: int, ratio: float, antialias: bool = True) -> Tensor:
    """The float32 (size_out, size_in) matrix of cubic resizing along one axis.

    Parameters
    ----------
    ratio : distance of output samples over distance of input samples; above 1 shrinks. The outer faces
        of the first samples coincide, so output n sits at input (n + 0.5) * ratio - 0.5.
    antialias : stretch the kernel by ``ratio`` when it shrinks, as MATLAB's imresize does

    Weights beyond the ends are given to the end samples (edge replication).
    """
    width = max(ratio, 1.0) if antialias else 1.0
    centres = (np.arange(size_out) + 0.5) * ratio - 0.5
    reach = int(np.ceil(2 * width)) + 1
    taps = np.floor(centres)[:, None].astype(int) + np.arange(-reach, reach + 1)
    weights = cubic_kernel((taps - centres[:, None]) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((size_out, size_in))
    np.add.at(matrix, (np.arange(size_out)[:, None], np.clip(taps, 0, size_in - 1)), weights)
    with torch.inference_mode(False):  # kept for later calls, which may want gradients through it
        return torch.from_numpy(matrix.astype(np.float32))


def resize_cubic(image: Tensor, size: tuple[int, ...], ratios: tuple[float, ...], antialias: bool = True) -> Tensor:
    """Cubic resizing (a = -0.5) of the last ``len(size)`` axes of (..., D, H, W).

    Parameters
    ----------
    size : voxels of the result along each of those axes
    ratios : new spacing over old spacing along each axis, see ``resize_matrix``
    """
    for offset, (size_out, ratio) in enumerate(zip(size, ratios, strict=True)):
        axis = image.ndim - len(size) + offset
        if size_out == image.shape[axis] and ratio == 1.0:
            continue
        matrix = resize_matrix(image.shape[axis], size_out, float(ratio), antialias).to(image)
        image = torch.movedim(torch.tensordot(matrix, image, dims=([1], [axis])), 0, axis)
    return image


def downsample_cubic(array: NDArray, factors: tuple[float, ...]) -> NDArray[np.float32]:
    """Antialiased cubic shrinking of an array by ``factors`` along its axes: the paper's low resolution.

    The result has ceil(size / factor) samples along each axis, as MATLAB's imresize; the outer faces of the
    first voxels coincide.
    """
    size = tuple(int(np.ceil(n / f)) for n, f in zip(array.shape, factors, strict=True))
    return resize_cubic(torch.from_numpy(np.asarray(array, dtype=np.float32)), size, tuple(factors)).numpy()


def upsample_cubic(array: NDArray, factors: tuple[float, ...], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Cubic interpolation of an array by ``factors``, cut or extended to ``shape``: the inverse grid of the above."""
    ratios = tuple(1.0 / f for f in factors)
    return resize_cubic(torch.from_numpy(np.asarray(array, dtype=np.float32)), shape, ratios).numpy()
