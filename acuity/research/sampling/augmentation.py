"""Augmentation: crops as other scanners, coarser protocols and worse brain extraction would show them.

Parameters are drawn apart from the functions that apply them. Crops are float32 (C, I, J, K), z-scored over the brain,
exactly 0 outside it. No function changes its input.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from acuity.anatomy import Sequence
from acuity.imaging.forward_model import box_matrix, resize_axes, resize_cubic, resize_matrix
from acuity.research.degradations.noise import rician_noise

Rng = np.random.Generator
Change = Callable[[Tensor], Tensor]

_WAYS = ("soften", "coarse", "thick", "blur")  # of losing detail; a crop has at most one
_MISSING = ("missing", "two_missing", "three_missing")


@dataclass(frozen=True)
class Augmentation:
    """How often each change is made, 0 to 1. Gain and offset of each channel always vary.

    Parameters
    ----------
    soften : blend with the crop at a lower resolution, as super-resolved images look, see ``soften``
    coarse : resolution of 1 to 2.5 mm along each axis
    thick : slices of 2 to 6 mm along one axis
    blur : Gaussian of 0.5 to 1.5 mm. A crop has at most one of these four, so their sum is 1 at most
    contrast : gamma of each channel
    noise : Gaussian
    rician : noise of a magnitude image
    bias : a field that varies over the crop, of each channel
    missing, two_missing, three_missing : one, two or three sequences are unknown, all 0
    rim : a brain mask that is up to 4 mm too small or too large in places
    unenhanced : the tumor takes up no contrast agent, see ``without_enhancement``
    """

    soften: float = 0.3
    coarse: float = 0.0
    thick: float = 0.0
    blur: float = 0.0
    contrast: float = 0.4
    noise: float = 0.3
    rician: float = 0.0
    bias: float = 0.0
    missing: float = 0.1
    two_missing: float = 0.0
    three_missing: float = 0.0
    rim: float = 0.0
    unenhanced: float = 0.0

    def __post_init__(self) -> None:
        for names in (_WAYS, _MISSING):
            total = sum(getattr(self, name) for name in names)
            if total > 1 + 1e-9:
                raise ValueError(f"{', '.join(names)} exclude each other, but sum to {total:g}")


PLAIN = Augmentation(soften=0.0)  # never loses resolution
STANDARD = Augmentation()
HOSPITAL = Augmentation(
    soften=0.15,
    coarse=0.2,
    thick=0.25,
    blur=0.1,
    contrast=0.5,
    noise=0.2,
    rician=0.15,
    bias=0.3,
    missing=0.25,
    two_missing=0.1,
    rim=0.2,
    unenhanced=0.15,
)
_T1, _T1C = (list(Sequence).index(sequence) for sequence in (Sequence.T1, Sequence.T1C))
_SEAM, _FADE = 2.0, 1.0  # mm beyond the enhancing part, and by which its border is blurred
_LEAST_TISSUE = 500  # voxels
_LOST = (0.2, 0.2, 0.2, 0.4)  # of T1, T1c, T2, FLAIR; without FLAIR, most of a tumor is hard to see
NAMED = {"plain": PLAIN, "standard": STANDARD, "hospital": HOSPITAL}


def perturb(image: Tensor, rng: Rng, augmentation: Augmentation = STANDARD, *, spacing: float = 1.0) -> Tensor:
    """Draw and apply all changes of a crop except the loss of enhancement, which changes the regions, too.

    Parameters
    ----------
    image : float32 (4, I, J, K), z-scored, 0 outside the brain, which stays so
    spacing : of the crop's voxels in mm, isotropic
    """
    a = augmentation
    brain = (image != 0).any(dim=0)
    image = _lose_detail(image, rng, a, spacing).clone()
    for channel in image:
        if rng.random() < a.contrast and brain.sum() > 1:
            channel[brain] = change_contrast(channel[brain], float(np.exp(rng.uniform(-0.5, 0.5))))
        if rng.random() < a.bias:
            channel[:] = with_bias_field(channel, rng.normal(0, 0.1, (3, 3, 3)))
    shape = (image.shape[0], *[1] * (image.ndim - 1))
    gain = torch.from_numpy(rng.uniform(0.8, 1.25, shape).astype(np.float32))
    offset = torch.from_numpy(rng.uniform(-0.25, 0.25, shape).astype(np.float32))
    image = image * gain + offset
    if rng.random() < a.noise:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        image = image + torch.randn(image.shape, generator=generator) * float(rng.uniform(0, 0.15))
    if rng.random() < a.rician:
        sigma, seed = float(rng.uniform(0.05, 0.3)), int(rng.integers(2**31))
        image = torch.stack([with_rician_noise(channel, brain, sigma, seed + c) for c, channel in enumerate(image)])
    image = image * brain
    if rng.random() < a.rim:
        image = _draw_rim(image, brain, rng, spacing)
    count = _one_of(_MISSING, a, rng)
    if count is not None:
        lost = rng.choice(len(image), 1 + count, replace=False, p=_LOST)
        image[torch.from_numpy(lost)] = 0
    return image


def _one_of(names: Seq[str], a: Augmentation, rng: Rng) -> int | None:
    """Draw one of changes that exclude each other, by its place in ``names``; None is no change."""
    bounds = np.cumsum([getattr(a, name) for name in names])
    number = int(np.searchsorted(bounds, rng.random(), side="right"))
    return number if number < len(names) else None


def _lose_detail(image: Tensor, rng: Rng, a: Augmentation, spacing: float) -> Tensor:
    """Lose detail in one way or none; half of the time each sequence loses its own, except with ``soften``."""
    way = _one_of(_WAYS, a, rng)
    if way is None:
        return image
    draw = (_draw_softening, _draw_coarser, _draw_thicker, _draw_blur)[way]
    parts = [image] if way == 0 or rng.random() < 0.5 else list(image.split(1))
    return torch.cat([draw(part.shape[1:], rng, spacing)(part) for part in parts])


def _draw_softening(size: Seq[int], rng: Rng, spacing: float) -> Change:
    """Half the resolution, or slices of 3 to 6 voxels."""
    factors = [1.0, 1.0, 1.0]
    if rng.random() < 0.6:
        factors = [2.0, 2.0, 2.0]
    else:
        factors[int(rng.integers(3))] = float(rng.integers(3, 7))
    return partial(soften, factors=(factors[0], factors[1], factors[2]), share=float(rng.uniform(0.2, 1.0)))


def _draw_coarser(size: Seq[int], rng: Rng, spacing: float) -> Change:
    i, j, k = rng.uniform(1.0, 2.5, 3) / spacing
    return partial(at_resolution, factors=(float(i), float(j), float(k)))


def _draw_thicker(size: Seq[int], rng: Rng, spacing: float) -> Change:
    # Not along an axis on which the crop holds fewer than two slices, as a 2D patch does.
    thickness = float(rng.uniform(2.0, 6.0)) / spacing
    axes = [axis for axis, n in enumerate(size) if n >= 2 * thickness]
    return partial(in_thick_slices, axis=int(rng.choice(axes)), thickness=thickness) if axes else torch.clone


def _draw_blur(size: Seq[int], rng: Rng, spacing: float) -> Change:
    return partial(blurred, sigma=float(rng.uniform(0.5, 1.5)) / spacing)


def _draw_rim(image: Tensor, brain: Tensor, rng: Rng, spacing: float) -> Tensor:
    thickness, seed = float(rng.uniform(1.0, 4.0)) / spacing, int(rng.integers(2**31))
    if rng.random() < 0.5:
        return image * ~patchy(depth_within(brain, thickness), seed)
    return with_rim(image, patchy(depth_within(~brain, thickness), seed), rng.uniform(-2.0, 2.0, len(image)), seed)


def without_enhancement(image: Tensor, regions: Tensor, *, spacing: float = 1.0) -> tuple[Tensor, Tensor]:
    """A crop whose tumor takes up no contrast agent, as in most gliomas of low grade, and its regions with an empty ET.

    There are few cases of low grade. Where the tumor enhances, T1c is predicted from T1 by their linear relation
    (least squares) in the tissue round the tumor.

    Parameters
    ----------
    image : float32 (4, I, J, K), z-scored, 0 outside the brain
    regions : float32 (3, I, J, K), 0 or 1; ET, TC, WT
    spacing : of the crop's voxels in mm, isotropic

    Returns
    -------
    image and regions. They stay as they were if nothing enhances or hardly any tissue lies round the tumor
    """
    t1, t1c = image[_T1], image[_T1C]
    brain = (image != 0).any(dim=0)
    tissue = brain & (regions[2] == 0)
    if not regions[0].any() or tissue.sum() < _LEAST_TISSUE:
        return image, regions
    x, y = t1[tissue], t1c[tissue]
    slope = ((x - x.mean()) * (y - y.mean())).mean() / x.var().clamp(min=1e-3)
    grown = ndimage.binary_dilation(regions[0].numpy() > 0, iterations=round(_SEAM / spacing))
    opacity = torch.from_numpy(ndimage.gaussian_filter(grown.astype(np.float32), _FADE / spacing)) * brain
    changed, without = image.clone(), regions.clone()
    changed[_T1C] = torch.lerp(t1c, y.mean() + slope * (t1 - x.mean()), opacity)
    without[0] = 0
    return changed, without


def soften(image: Tensor, factors: tuple[float, float, float], share: float) -> Tensor:
    """A crop blended with itself at a lower resolution (``at_resolution``), as super-resolved images look.

    share : of the lower resolution, 0 to 1
    """
    return share * at_resolution(image, factors) + (1 - share) * image


def at_resolution(image: Tensor, factors: tuple[float, float, float]) -> Tensor:
    """A crop shrunk by antialiased cubic interpolation and interpolated back.

    factors : along i, j, k. Factors below 1 count as 1, and so does any factor along an axis of one voxel
    """
    size = tuple(image.shape[1:])
    f = tuple(1.0 if n == 1 else max(1.0, factor) for n, factor in zip(size, factors, strict=True))
    low = tuple(int(np.ceil(n / factor)) for n, factor in zip(size, f, strict=True))
    return resize_cubic(resize_cubic(image, low, f), size, tuple(1 / factor for factor in f))


def in_thick_slices(image: Tensor, axis: int, thickness: float) -> Tensor:
    """A crop averaged over slices of ``thickness`` voxels along ``axis`` (0, 1, 2: i, j, k) and interpolated back."""
    size = list(image.shape[1:])
    low = size.copy()
    low[axis] = int(np.ceil(size[axis] / thickness))
    ratios = [1.0, 1.0, 1.0]
    ratios[axis] = thickness
    thick = resize_axes(image, tuple(low), tuple(ratios), [box_matrix] * 3)
    return resize_axes(thick, tuple(size), tuple(1 / r for r in ratios), [resize_matrix] * 3)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """A crop blurred by a Gaussian of ``sigma`` voxels along i, j, k."""
    return torch.from_numpy(ndimage.gaussian_filter(image.numpy(), (0, sigma, sigma, sigma), mode="nearest"))


def change_contrast(channel: Tensor, gamma: float) -> Tensor:
    """Gamma correction of z-scored values over their own range; their mean and deviation stay the same.

    Scanners differ in the contrast of gray and white matter, which z-scoring cannot undo. From nnU-Net's augmentation
    (Isensee et al., Nature Methods 18, 2021).
    """
    low, high = channel.min(), channel.max()
    if high - low < 1e-3 or channel.std() < 1e-3:
        return channel
    changed = ((channel - low) / (high - low)) ** gamma
    return (changed - changed.mean()) / changed.std() * channel.std() + channel.mean()


def with_bias_field(channel: Tensor, coefficients: NDArray[np.float64]) -> Tensor:
    """A channel (I, J, K) times exp of a smooth field. Intensities count from the darkest voxel.

    coefficients : of the field's Legendre polynomials along i, j, k over the crop
    """
    i, j, k = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in channel.shape)
    field = legendre.leggrid3d(i, j, k, coefficients)
    return (channel - channel.min()) * torch.from_numpy(np.exp(field).astype(np.float32)) + channel.min()


def with_rician_noise(channel: Tensor, brain: Tensor, sigma: float, seed: int) -> Tensor:
    """A channel with Rician noise of ``sigma`` (in deviations of the brain); its signal is 0 at the darkest voxel."""
    floor = channel[brain].min() if brain.any() else channel.min()
    return rician_noise((channel - floor).clamp(min=0), sigma, seed) + floor


def depth_within(mask: Tensor, thickness: float) -> NDArray[np.float64]:
    """1 at the border of a mask (I, J, K), falling to 0 at ``thickness`` voxels inside; 0 deeper inside and outside."""
    if mask.all() or not mask.any():
        return np.zeros(mask.shape)
    depth = ndimage.distance_transform_edt(mask.numpy())
    return np.where(depth > 0, np.clip(1 - (depth - 1) / thickness, 0, 1), 0)


def patchy(nearness: NDArray[np.float64], seed: int) -> Tensor:
    """Where ``nearness``, 0 to 1, exceeds a smooth random level: bool (I, J, K). Masks are wrong in places only."""
    coarse = torch.rand((1, 1, 4, 4, 4), generator=torch.Generator().manual_seed(seed))
    level = F.interpolate(coarse, size=nearness.shape, mode="trilinear", align_corners=False)[0, 0]
    return torch.from_numpy(nearness) > level


def with_rim(image: Tensor, rim: Tensor, levels: NDArray[np.float64], seed: int) -> Tensor:
    """A crop with tissue round the brain where ``rim`` is True: ``levels`` of each channel, with noise."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    tissue = torch.from_numpy(levels.astype(np.float32)).reshape(-1, 1, 1, 1) + 0.5 * noise
    return torch.where(rim, tissue, image)
