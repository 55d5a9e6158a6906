"""Random crops of brains: drawing them, taking them from a volume, and batches of them, apart from each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from acuity.research.sampling.augmentation import STANDARD, Augmentation, perturb, without_enhancement


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
    """Where and how a crop is taken: a center in voxels and a (3, 3) matrix from crop to volume offsets."""

    center: NDArray[np.float64]
    matrix: NDArray[np.float64]


def draw_center(case: PreparedCase, tumor_share: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A voxel of the tumor with probability ``tumor_share`` (of its enhancing part or core half of the time)."""
    shape = case.regions.shape[1:]
    if rng.random() < tumor_share:
        region = case.regions[int(rng.choice([0, 1, 2, 2]))]
        voxels = torch.nonzero(region if region.any() else case.regions[2])
        if len(voxels):
            return voxels[int(rng.integers(len(voxels)))].numpy() + rng.uniform(-8, 8, 3)
    return np.array([rng.uniform(0.25, 0.75) * n for n in shape])


def draw_matrix(
    rng: np.random.Generator, *, rotation: float = 15.0, scale: float = 0.15, turned: bool = False
) -> NDArray[np.float64]:
    """Mirrored axes, a rotation of up to ``rotation`` degrees about each axis and a zoom of 1 +- ``scale``.

    turned : the crop's axes are the volume's in any order, so that its slices lie in any of the three planes
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
    """The box of the volume that the crop's samples lie in: to make floats of all takes longer than to sample."""
    reach = np.abs(crop.matrix) @ (np.array(size) / 2)
    first, last = np.floor(crop.center - reach).astype(int), np.ceil(crop.center + reach).astype(int)
    return [slice(max(0, a), max(0, min(n, b + 1))) for a, b, n in zip(first, last, shape, strict=True)]


@dataclass(frozen=True)
class Batch:
    """What one step of a segmentation's training sees.

    Parameters
    ----------
    image : float32 (N, 4, I, J, K)
    target : float32 (N, 3, I, J, K), 0 or 1
    twins : pairs of indices in the batch that show one place, degraded and as it was
    """

    image: Tensor
    target: Tensor
    twins: list[tuple[int, int]]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.image.to(device), self.target.to(device), self.twins)


@dataclass(frozen=True)
class Patches:
    """A source of batches.

    Parameters
    ----------
    cases : whole brains
    size : voxels of a patch along i, j, k
    variants : degraded versions of the tumor and what is round it, by the name of their case
    variant_share : how often one stands in for its case
    tumor_share : how many patches are centered on the tumor
    augmentation : what each patch is perturbed by
    spacing : of the voxels in mm
    twins : each patch of a variant is joined by the same place in its case, perturbed alike
    other, other_share : draws brains beside the cases, see ``acuity.research.synthetic.transplant``, and how many patches are theirs
    turned : patches lie in any of the three planes, see ``draw_matrix``
    """

    cases: Seq[PreparedCase]
    size: tuple[int, int, int]
    variants: Mapping[str, Seq[PreparedCase]] = field(default_factory=dict)
    variant_share: float = 0.5
    tumor_share: float = 0.6
    augmentation: Augmentation = STANDARD
    spacing: float = 1.0
    twins: bool = False
    other: Callable[[np.random.Generator], PreparedCase] | None = None
    other_share: float = 0.2
    turned: bool = False

    def draw(self, count: int, rng: np.random.Generator) -> Batch:
        """``count`` patches, and their twins, that depend on ``rng`` alone."""
        images: list[Tensor] = []
        targets: list[Tensor] = []
        twins: list[tuple[int, int]] = []
        brain: PreparedCase | None = None
        for _ in range(count):
            if self.other is not None and rng.random() < self.other_share:
                # One for all patches of a batch: to set a tumor into a whole brain takes longer than a 2D step.
                brain = brain or self.other(rng)
                whole = case = brain
            else:
                whole = case = self.cases[int(rng.integers(len(self.cases)))]
            if case.name in self.variants and rng.random() < self.variant_share:
                variants = self.variants[case.name]
                case = variants[int(rng.integers(len(variants)))]
            crop = Crop(draw_center(case, self.tumor_share, rng), draw_matrix(rng, turned=self.turned))
            seed = int(rng.integers(2**31))
            regions = (take(case.regions, crop, self.size) >= 0.5).float()
            unenhanced = rng.random() < self.augmentation.unenhanced
            image, target = self._changed(take(case.image, crop, self.size), regions, unenhanced, seed)
            images.append(image)
            targets.append(target)
            if self.twins and case is not whole:
                same = Crop(crop.center + shift_to(whole, case), crop.matrix)
                # A variant ends where its file does: its twin sees no further.
                seen = take(torch.ones_like(case.regions[:1]), crop, self.size) >= 0.5
                twins.append((len(images) - 1, len(images)))
                twin, _ = self._changed(take(whole.image, same, self.size) * seen, regions, unenhanced, seed)
                images.append(twin)
                targets.append(target)
        return Batch(torch.stack(images), torch.stack(targets), twins)

    def _changed(self, image: Tensor, regions: Tensor, unenhanced: bool, seed: int) -> tuple[Tensor, Tensor]:
        if unenhanced:
            image, regions = without_enhancement(image, regions, spacing=self.spacing)
        return perturb(image, np.random.default_rng(seed), self.augmentation, spacing=self.spacing), regions


def shift_to(whole: PreparedCase, part: PreparedCase) -> NDArray[np.float64]:
    """Voxels to add to a place in ``part`` to get the same place in ``whole``: both hold the whole tumor.

    Raises
    ------
    ValueError : where they do not hold the same tumor
    """
    corners = []
    for case in (whole, part):
        tumor = torch.nonzero(case.regions[2])
        if not len(tumor):
            raise ValueError(f"{case.name} holds no tumor by which to align its versions")
        corners.append((tumor.amin(dim=0), tumor.amax(dim=0)))
    (first, last), (other_first, other_last) = corners
    if not torch.equal(last - first, other_last - other_first):
        raise ValueError(f"a version of {whole.name} holds a tumor of another size")
    return (first - other_first).numpy().astype(np.float64)
