"""Random crops of brains: drawing them, sampling them from a volume, and batches of them from several sources."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from acuity.research.sampling.augmentation import STANDARD, Augmentation, perturb, without_enhancement

Rng = np.random.Generator


@dataclass(frozen=True)
class PreparedCase:
    """A brain ready for training, cropped to its box, or a part of one.

    Parameters
    ----------
    image : float16 (4, I, J, K), z-scored over the brain, 0 outside; T1, T1c, T2, FLAIR
    regions : uint8 (3, I, J, K), 0 or 1; ET, TC, WT
    """

    name: str
    image: Tensor
    regions: Tensor


@dataclass(frozen=True)
class Source:
    """Where a share of the patches comes from.

    Parameters
    ----------
    cases : brains or parts of brains; or a function that draws one, such as
        ``acuity.research.synthetic.transplant.OtherBrains.draw``. A function is called once for each batch, because
        making a brain takes longer than a step of a 2D network
    share : of all patches, 0 to 1
    weights : probabilities of ``cases``, which sum to 1; None draws all equally often
    names : names of the brains that a function draws from, for the record of a training
    """

    cases: Seq[PreparedCase] | Callable[[Rng], PreparedCase]
    share: float = 1.0
    weights: Seq[float] | None = None
    names: Seq[str] = ()

    @property
    def all_names(self) -> list[str]:
        """Names of the brains that are drawn from."""
        return list(self.names) if callable(self.cases) else [case.name for case in self.cases]

    def draw(self, rng: Rng) -> PreparedCase:
        """A case that depends on ``rng`` alone."""
        if callable(self.cases):
            return self.cases(rng)
        count = len(self.cases)
        return self.cases[int(rng.integers(count) if self.weights is None else rng.choice(count, p=self.weights))]


@dataclass(frozen=True)
class Crop:
    """Where and how a crop is taken: a center in voxels and a (3, 3) matrix from crop to volume offsets."""

    center: NDArray[np.float64]
    matrix: NDArray[np.float64]


def draw_center(case: PreparedCase, tumor_share: float, rng: Rng) -> NDArray[np.float64]:
    """A place near the tumor with probability ``tumor_share`` (half of the time near ET or TC), else anywhere."""
    shape = case.regions.shape[1:]
    if rng.random() < tumor_share:
        region = case.regions[int(rng.choice([0, 1, 2, 2]))]
        voxels = torch.nonzero(region if region.any() else case.regions[2])
        if len(voxels):
            return voxels[int(rng.integers(len(voxels)))].numpy() + rng.uniform(-8, 8, 3)
    return np.array([rng.uniform(0.25, 0.75) * n for n in shape])


def draw_matrix(rng: Rng, *, rotation: float = 15.0, scale: float = 0.15, turned: bool = False) -> NDArray[np.float64]:
    """Mirrored axes, a rotation of up to ``rotation`` degrees about each axis and a zoom of 1 +- ``scale``.

    turned : permute the axes, so that the crop's slices lie in any of the three planes
    """
    matrix = np.diag(rng.choice([-1.0, 1.0], 3) * rng.uniform(1 - scale, 1 + scale))
    for axis, angle in enumerate(np.deg2rad(rng.uniform(-rotation, rotation, 3))):
        a, b = [i for i in range(3) if i != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix[:, rng.permutation(3)] if turned else matrix


def take(volume: Tensor, crop: Crop, size: tuple[int, int, int]) -> Tensor:
    """Sample (C, I, J, K) at a crop, trilinearly, 0 outside: float32 (C, *size)."""
    box = _needed(volume.shape[1:], crop, size)
    part = volume[(slice(None), *box)].float()
    if 0 in part.shape:
        return torch.zeros(len(volume), *size)
    shape = np.array(part.shape[1:], dtype=np.float64)
    # grid_sample's coordinates run from -1 to 1 over the outer faces, last axis first.
    matrix = crop.matrix * np.array(size)[None] / shape[:, None]
    offset = (2 * (crop.center - [s.start for s in box]) + 1) / shape - 1
    theta = np.concatenate([matrix[::-1, ::-1], offset[::-1, None]], axis=1)
    grid = F.affine_grid(torch.from_numpy(theta[None].astype(np.float32)), [1, 1, *size], align_corners=False)
    return F.grid_sample(part[None], grid, align_corners=False)[0]


def _needed(shape: Seq[int], crop: Crop, size: tuple[int, int, int]) -> list[slice]:
    """The box of the volume that the crop's samples lie in: converting all to float takes longer than sampling."""
    reach = np.abs(crop.matrix) @ (np.array(size) / 2)
    first, last = np.floor(crop.center - reach).astype(int), np.ceil(crop.center + reach).astype(int)
    return [slice(max(0, a), max(0, min(n, b + 1))) for a, b, n in zip(first, last, shape, strict=True)]


@dataclass(frozen=True)
class Batch:
    """The patches of one step.

    Parameters
    ----------
    image : float32 (N, 4, I, J, K)
    target : float32 (N, 3, I, J, K), 0 or 1
    """

    image: Tensor
    target: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.image.to(device), self.target.to(device))


@dataclass(frozen=True)
class Patches:
    """Batches of patches from several sources.

    Parameters
    ----------
    sources : their shares sum to 1
    size : voxels of a patch along i, j, k
    tumor_share : part of the patches that are centered on the tumor
    augmentation : what each patch is perturbed by
    spacing : of the voxels in mm
    turned : whether patches lie in any of the three planes, see ``draw_matrix``

    Raises
    ------
    ValueError : shares that do not sum to 1
    """

    sources: Seq[Source]
    size: tuple[int, int, int]
    tumor_share: float = 0.6
    augmentation: Augmentation = STANDARD
    spacing: float = 1.0
    turned: bool = False

    def __post_init__(self) -> None:
        total = sum(source.share for source in self.sources)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of the sources sum to {total:g}; they are parts of all patches")

    def draw(self, count: int, rng: Rng) -> Batch:
        """``count`` patches that depend on ``rng`` alone."""
        bounds = np.cumsum([source.share for source in self.sources])[:-1]
        made: dict[int, PreparedCase] = {}
        patches: list[tuple[Tensor, Tensor]] = []
        for _ in range(count):
            number = int(np.searchsorted(bounds, rng.random(), side="right")) if len(bounds) else 0
            case = made.get(number) or self.sources[number].draw(rng)
            if callable(self.sources[number].cases):
                made[number] = case
            patches.append(self._patch(case, rng))
        images, targets = zip(*patches, strict=True)
        return Batch(torch.stack(images), torch.stack(targets))

    def _patch(self, case: PreparedCase, rng: Rng) -> tuple[Tensor, Tensor]:
        crop = Crop(draw_center(case, self.tumor_share, rng), draw_matrix(rng, turned=self.turned))
        seed = int(rng.integers(2**31))
        image, regions = take(case.image, crop, self.size), (take(case.regions, crop, self.size) >= 0.5).float()
        if rng.random() < self.augmentation.unenhanced:
            image, regions = without_enhancement(image, regions, spacing=self.spacing)
        return perturb(image, np.random.default_rng(seed), self.augmentation, spacing=self.spacing), regions
