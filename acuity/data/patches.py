"""Random crops of a brain: drawing them, and taking them from a volume, apart from each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from acuity.degradations.functional import resize_cubic


@dataclass(frozen=True)
class PreparedCase:
    """A brain ready for training, cropped to its box.

    Parameters
    ----------
    image : float16 (4, I, J, K), z-scored over the brain, 0 outside; T1, T1c, T2, FLAIR
    regions : uint8 (3, I, J, K), 0 or 1; ET, TC, WT
    """

    name: str
    image: Tensor
    regions: Tensor


@dataclass(frozen=True)
class Crop:
    """Where and how a crop is taken: a centre in voxels and a (3, 3) matrix from crop to volume offsets."""

    centre: NDArray[np.float64]
    matrix: NDArray[np.float64]


def draw_centre(case: PreparedCase, tumor_share: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A voxel of the tumour with probability ``tumor_share`` (of its enhancing part or core half of the time)."""
    shape = case.regions.shape[1:]
    if rng.random() < tumor_share:
        region = case.regions[int(rng.choice([0, 1, 2, 2]))]
        voxels = torch.nonzero(region if region.any() else case.regions[2])
        if len(voxels):
            return voxels[int(rng.integers(len(voxels)))].numpy() + rng.uniform(-8, 8, 3)
    return np.array([rng.uniform(0.25, 0.75) * n for n in shape])


def draw_matrix(rng: np.random.Generator, *, rotation: float = 15.0, scale: float = 0.15) -> NDArray[np.float64]:
    """Mirrored axes, a rotation of up to ``rotation`` degrees about each axis and a zoom of 1 +- ``scale``."""
    matrix = np.diag(rng.choice([-1.0, 1.0], 3) * rng.uniform(1 - scale, 1 + scale))
    for axis, angle in enumerate(np.deg2rad(rng.uniform(-rotation, rotation, 3))):
        a, b = [i for i in range(3) if i != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def take(volume: Tensor, crop: Crop, size: tuple[int, int, int]) -> Tensor:
    """Sample (C, I, J, K) at a crop, trilinearly, 0 outside: float32 (C, *size)."""
    shape = np.array(volume.shape[1:], dtype=np.float64)
    # grid_sample's coordinates run from -1 to 1 over the outer faces, last axis first.
    matrix = crop.matrix * np.array(size)[None] / shape[:, None]
    offset = (2 * crop.centre + 1) / shape - 1
    theta = np.concatenate([matrix[::-1, ::-1], offset[::-1, None]], axis=1)
    grid = F.affine_grid(torch.from_numpy(theta[None].astype(np.float32)), [1, 1, *size], align_corners=False)
    return F.grid_sample(volume[None].float(), grid, align_corners=False)[0]


def soften(image: Tensor, rng: np.random.Generator) -> Tensor:
    """What interpolation leaves of a crop (C, I, J, K) at half its resolution, or with slices of 3 to 6 voxels.

    Blended with the crop itself: super-resolved images lie between the two.
    """
    factors = [1.0, 1.0, 1.0]
    if rng.random() < 0.6:
        factors = [2.0, 2.0, 2.0]
    else:
        factors[int(rng.integers(3))] = float(rng.integers(3, 7))
    size = image.shape[1:]
    low = tuple(int(np.ceil(n / f)) for n, f in zip(size, factors, strict=True))
    blurred = resize_cubic(resize_cubic(image, low, tuple(factors)), tuple(size), tuple(1 / f for f in factors))
    share = float(rng.uniform(0.2, 1.0))
    return share * blurred + (1 - share) * image


def change_contrast(channel: Tensor, gamma: float) -> Tensor:
    """Gamma correction of z-scored values over their own range; their mean and deviation stay as they are.

    Scanners differ in how far grey and white matter lie apart, which z-scoring cannot undo; nnU-Net's augmentation
    (Isensee et al., Nature Methods 18, 2021).
    """
    low, high = channel.min(), channel.max()
    if high - low < 1e-3 or channel.std() < 1e-3:
        return channel
    changed = ((channel - low) / (high - low)) ** gamma
    return (changed - changed.mean()) / changed.std() * channel.std() + channel.mean()


def perturb(image: Tensor, rng: np.random.Generator, *, drop: float = 0.1) -> Tensor:
    """Lower resolution, contrast, gain, offset and noise inside the brain; with probability ``drop`` a channel is lost.

    image : float32 (4, ...), z-scored, 0 outside the brain; the background stays 0
    """
    brain = (image != 0).any(dim=0)
    if rng.random() < 0.3:
        image = soften(image, rng)
    image = image.clone()
    for channel in image:
        if rng.random() < 0.4 and brain.sum() > 1:
            channel[brain] = change_contrast(channel[brain], float(np.exp(rng.uniform(-0.5, 0.5))))
    shape = (image.shape[0], *[1] * (image.ndim - 1))
    gain = torch.from_numpy(rng.uniform(0.8, 1.25, shape).astype(np.float32))
    offset = torch.from_numpy(rng.uniform(-0.25, 0.25, shape).astype(np.float32))
    image = image * gain + offset
    if rng.random() < 0.3:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        image = image + torch.randn(image.shape, generator=generator) * float(rng.uniform(0, 0.15))
    if rng.random() < drop:
        image[int(rng.integers(image.shape[0]))] = 0
    return image * brain
