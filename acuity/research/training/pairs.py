"""Pairs of low and high resolution for training super-resolution, drawn from slices or from volumes."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acuity.research.datasets import volume_patches
from acuity.research.datasets.slice_sets import ImageSlice, draw_hr_patches
from acuity.research.degradations.random import Draw
from acuity.research.degradations.steps import apply

SMALLEST_ERROR = 1e-12  # mean square; a restoration that is exact gains no more than one of this error

Rng = np.random.Generator


@dataclass(frozen=True)
class Batch:
    """The images of one step, with values from 0 to about 1; of slices, as below, or of volumes with an axis D more.

    Parameters
    ----------
    image : the generator's input (N, C, h, w)
    lr : the low resolution itself; the same as ``image`` where the generator upsamples
    hr : the truth (N, 1, H, W), of the size of the generator's output
    interpolated : cubic interpolation of ``lr`` at the size of ``hr``, the baseline
    degrade : brings an image of the size of ``hr`` to that of ``lr`` in the way that ``lr`` was made
    margin : pixels or voxels at each side of ``hr`` that no loss counts
    """

    image: Tensor
    lr: Tensor
    hr: Tensor
    interpolated: Tensor
    degrade: Callable[[Tensor], Tensor]
    margin: int = 0

    def cut(self, image: Tensor) -> Tensor:
        """An image of the size of ``hr`` without its margin."""
        inner = (slice(self.margin, n - self.margin) for n in image.shape[2:])
        return image[(slice(None), slice(None), *inner)]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        image, lr, hr, interpolated = (t.to(device) for t in (self.image, self.lr, self.hr, self.interpolated))
        return Batch(image, lr, hr, interpolated, self.degrade, self.margin)


class Pairs(Protocol):
    """A source of batches."""

    @property
    def size(self) -> int:
        """Size of the truth's patches in pixels."""

    def draw(self, count: int, rng: Rng) -> Batch:
        """A batch that depends on ``rng`` alone."""

    def fixed(self) -> dict[str, list[Batch]]:
        """Batches for validation, always the same, by kind of degradation; the first kind is the one that counts."""


@dataclass(frozen=True)
class InPlanePairs:
    """Patches of slices, degraded in the plane by a whole scale; the generator upsamples.

    Parameters
    ----------
    slices : see ``acuity.research.datasets.slice_sets``
    degradation : one of ``acuity.research.degradations.random``
    scale : 2 or 4
    size : of the patches of the truth in pixels, a multiple of the scale
    """

    slices: Seq[ImageSlice]
    degradation: Draw
    scale: int = 4
    size: int = 128

    def draw(self, count: int, rng: Rng) -> Batch:
        """See ``Pairs``; each patch is degraded in its own way."""
        hr = draw_hr_patches(self.slices, count, self.size, rng)
        steps = [self.degradation(rng, self.scale) for _ in range(count)]

        def degrade(image: Tensor) -> Tensor:
            parts = [apply(one[None], s) for one, s in zip(image.cpu(), steps, strict=True)]
            return torch.cat(parts).to(image.device)

        lr = degrade(hr)
        return Batch(lr, lr, hr, volume_patches.interpolate_back(lr, (self.size, self.size)), degrade)

    def fixed(self) -> dict[str, list[Batch]]:
        """See ``Pairs``: 24 patches of slices throughout."""
        count = min(24, len(self.slices))
        chosen = [self.slices[int((n + 0.5) * len(self.slices) / count)] for n in range(count)]
        source = [InPlanePairs([s], self.degradation, self.scale, self.size) for s in chosen]
        return {f"x{self.scale}": [pairs.draw(1, np.random.default_rng([1, n])) for n, pairs in enumerate(source)]}


@dataclass(frozen=True)
class VolumePairs:
    """Patches of any plane of volumes, degraded along one or two axes as thick slices and coarse pixels are.

    The generator restores an image that cubic interpolation brought to the target grid. So any spacing can be reached,
    as the application needs.

    Parameters
    ----------
    volumes : (I, J, K), 0 to about 1, as ``acuity.research.datasets.volume_patches.read_volumes`` gives them
    size : of the patches in pixels, without a margin round them
    """

    volumes: Seq[NDArray[np.float16]]
    size: int = 48

    def draw(self, count: int, rng: Rng) -> Batch:
        """See ``Pairs``; the patches are of one volume and share a degradation."""
        hr = volume_patches.draw_patches(self.volumes[int(rng.integers(len(self.volumes)))], count, self.size, rng)
        return _degraded(hr, volume_patches.draw_degradation(rng))

    def fixed(self) -> dict[str, list[Batch]]:
        """See ``Pairs``: of each volume, x2 in both axes, x2 and x5 along one."""
        kinds = {"x2": (2.0, 2.0), "x2_one_axis": (2.0, 1.0), "x5_one_axis": (5.0, 1.0)}
        batches: dict[str, list[Batch]] = {kind: [] for kind in kinds}
        for n, volume in enumerate(self.volumes):
            hr = volume_patches.draw_patches(volume, 4, 96, np.random.default_rng([1, n]))
            for kind, factors in kinds.items():
                batches[kind].append(_degraded(hr, volume_patches.Degradation(factors, "cubic")))
        return batches


@torch.no_grad()
def psnr_gain(generator: Callable[[Tensor], Tensor], batches: Seq[Batch], device: torch.device) -> float:
    """Gain in PSNR (dB) of the generator over cubic interpolation, mean over the batches.

    Batches that interpolation brings back exactly, as of patches outside the brain, show no gain and are left out.
    """
    gains = []
    for batch in batches:
        sr = generator(batch.image.to(device)).float().cpu()
        errors = [(batch.cut(image) - batch.cut(batch.hr)).square().mean().item() for image in (batch.interpolated, sr)]
        if errors[0] > 0:
            gains.append(10 * math.log10(errors[0] / max(errors[1], SMALLEST_ERROR)))
    return float(np.mean(gains)) if gains else 0.0


def _degraded(hr: Tensor, degradation: volume_patches.Degradation) -> Batch:
    lr = volume_patches.degrade(hr, degradation)
    image = volume_patches.interpolate_back(lr, (hr.shape[-2], hr.shape[-1]))
    return Batch(image, lr, hr, image, lambda sr: volume_patches.degrade(sr, degradation), volume_patches.MARGIN)
