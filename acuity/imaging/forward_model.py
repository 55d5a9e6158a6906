"""The forward model: pure functions from a high-resolution image to a low-resolution one, and resizing both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# The weights of a measured slice across its thickness: the kernel of antialiased cubic shrinking, or equal ones.
SliceProfile = Literal["cubic", "box"]
AxisMatrix = Callable[[int, int, float], Tensor]  # (samples in, samples out, spacing out over spacing in) -> (out, in)

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
    centers = (np.arange(size_out) + 0.5) * ratio - 0.5
    reach = int(np.ceil(2 * width)) + 1
    taps = np.floor(centers)[:, None].astype(int) + np.arange(-reach, reach + 1)
    weights = cubic_kernel((taps - centers[:, None]) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((size_out, size_in))
    np.add.at(matrix, (np.arange(size_out)[:, None], np.clip(taps, 0, size_in - 1)), weights)
    with torch.inference_mode(False):  # kept for later calls, which may want gradients through it
        return torch.from_numpy(matrix.astype(np.float32))


@lru_cache(maxsize=64)
def box_matrix(size_in: int, size_out: int, ratio: float) -> Tensor:
    """The float32 (size_out, size_in) matrix of means along one axis: slices of a boxcar profile, without gap.

    Parameters
    ----------
    ratio : width of output samples over width of input samples. The outer faces of the first samples coincide, so
        output n is the mean from n * ratio to (n + 1) * ratio of the input, each sample of which is constant from
        face to face

    What lies beyond the end counts as the last sample (edge replication).
    """
    faces = np.arange(size_in + 1.0)
    faces[-1] = max(faces[-1], size_out * ratio)
    starts = np.arange(size_out)[:, None] * ratio
    overlaps = np.minimum(faces[1:], starts + ratio) - np.maximum(faces[:-1], starts)
    with torch.inference_mode(False):  # as above
        return torch.from_numpy((np.maximum(overlaps, 0) / ratio).astype(np.float32))


def resize_axes(
    image: Tensor, size: tuple[int, ...], ratios: tuple[float, ...], matrices: Sequence[AxisMatrix]
) -> Tensor:
    """Resize the last ``len(size)`` axes of (..., D, H, W), each by a matrix of its own.

    Parameters
    ----------
    size : voxels of the result along each of those axes
    ratios : new spacing over old spacing along each axis; one of the same size and a ratio of 1 is left alone
    matrices : for each axis, what makes its matrix: ``resize_matrix``, ``box_matrix``
    """
    for offset, (size_out, ratio, matrix_of) in enumerate(zip(size, ratios, matrices, strict=True)):
        axis = image.ndim - len(size) + offset
        if size_out == image.shape[axis] and ratio == 1.0:
            continue
        matrix = matrix_of(image.shape[axis], size_out, float(ratio)).to(image)
        image = torch.movedim(torch.tensordot(matrix, image, dims=([1], [axis])), 0, axis)
    return image


def resize_cubic(image: Tensor, size: tuple[int, ...], ratios: tuple[float, ...], antialias: bool = True) -> Tensor:
    """Cubic resizing (a = -0.5) of the last ``len(size)`` axes of (..., D, H, W).

    Parameters
    ----------
    size : voxels of the result along each of those axes
    ratios : new spacing over old spacing along each axis, see ``resize_matrix``
    """
    return resize_axes(image, size, ratios, [partial(resize_matrix, antialias=antialias)] * len(size))


def downsample_cubic(array: NDArray, factors: tuple[float, ...]) -> NDArray[np.float32]:
    """Antialiased cubic shrinking of an array by ``factors`` along its axes: the paper's low resolution.

    The result has ceil(size / factor) samples along each axis, as MATLAB's imresize; the first outer faces coincide.
    """
    size = tuple(int(np.ceil(n / f)) for n, f in zip(array.shape, factors, strict=True))
    return resize_cubic(torch.from_numpy(np.asarray(array, dtype=np.float32)), size, tuple(factors)).numpy()


def upsample_cubic(array: NDArray, factors: tuple[float, ...], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Cubic interpolation of an array by ``factors``, cut or extended to ``shape``: the inverse grid of the above."""
    ratios = tuple(1.0 / f for f in factors)
    return resize_cubic(torch.from_numpy(np.asarray(array, dtype=np.float32)), shape, ratios).numpy()
