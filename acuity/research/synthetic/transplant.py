"""Transplanted tumors: carved out of one brain and set into another that has none.

After Zhang et al., "CarveMix: A Simple Data Augmentation Method for Brain Lesion Segmentation", MICCAI 2021
(arXiv:2108.06883). Unlike theirs, the border is blended, and the host has no tumor, so that its labels are certain.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import rescaled

MARGIN = 6.0  # mm over which a tumor's surroundings fade into the host's
LEAST_SCALE = 0.4  # smallest scale to which a tumor is shrunk; the cases have few small tumors
LEAST_INSIDE = 0.9  # part of the tumor's voxels that must lie inside the host's brain


@dataclass(frozen=True)
class Graft:
    """A tumor and the tissue round it, cut from a case.

    Parameters
    ----------
    image, regions : as ``PreparedCase`` has them, within a box
    opacity : float16 (I, J, K), 1 on the tumor, falling to 0 round it
    offset : voxels from the middle of the donor's image to the first corner of the graft
    """

    name: str
    image: Tensor
    regions: Tensor
    opacity: Tensor
    offset: tuple[int, int, int]


@dataclass(frozen=True)
class OtherBrains:
    """Brains without a tumor, and brains with transplanted ones.

    Parameters
    ----------
    tumor_free : brains without a tumor, at least one
    grafts : tumors to transplant; without any, all brains stay free of tumors
    graft_share : part of the brains that get a graft
    shrunk_share : part of the grafts that are shrunk
    further_share : probability that a brain with a graft gets another one, and so on
    """

    tumor_free: Seq[PreparedCase]
    grafts: Seq[Graft] = ()
    graft_share: float = 0.6
    shrunk_share: float = 0.5
    further_share: float = 0.25

    def draw(self, rng: np.random.Generator) -> PreparedCase:
        """Make a brain that depends on ``rng`` alone."""
        brain = self.tumor_free[int(rng.integers(len(self.tumor_free)))]
        if not self.grafts or rng.random() >= self.graft_share:
            return brain
        while True:
            graft = self.grafts[int(rng.integers(len(self.grafts)))]
            if rng.random() < self.shrunk_share:
                graft = shrunk(graft, float(rng.uniform(LEAST_SCALE, 1.0)))
            brain = transplanted(graft, brain) or brain
            if rng.random() >= self.further_share:
                return brain


def grafts_of(cases: Seq[PreparedCase], spacing: float) -> list[Graft]:
    """The tumors of ``cases``, whose voxels have a ``spacing`` in mm."""
    return [graft for case in cases if (graft := carve(case, round(MARGIN / spacing))) is not None]


def carve(case: PreparedCase, margin: int) -> Graft | None:
    """The tumor of a case; None if it has none.

    margin : voxels over which the tumor's surroundings fade into the host
    """
    tumor = case.regions[2].numpy().astype(bool)
    if not tumor.any():
        return None
    hits = np.argwhere(tumor)
    first = np.maximum(hits.min(axis=0) - margin, 0)
    last = np.minimum(hits.max(axis=0) + 1 + margin, tumor.shape)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    away = ndimage.distance_transform_edt(~tumor[i, j, k])
    opacity = torch.from_numpy(np.clip(1 - away / (margin + 1), 0, 1)).half()
    image = case.image[:, i, j, k]
    a, b, c = (int(n) for n in first - np.array(tumor.shape) // 2)
    return Graft(case.name, image, case.regions[:, i, j, k], opacity * (image != 0).any(dim=0), (a, b, c))


def carve_cube(case: PreparedCase, margin: int, edge: int) -> Graft:
    """The tumor of a cube, which fades where the cube ends; see ``acuity.research.sampling.cubes``.

    Its place in the brain is not known: use ``moved`` to set it somewhere.

    Parameters
    ----------
    margin : voxels over which the surroundings fade into the host
    edge : voxels over which the cube fades at its faces; labels count where its opacity is 0.5 at least
    """
    tumor = case.regions[2].numpy().astype(bool)
    opacity = np.clip(1 - ndimage.distance_transform_edt(~tumor) / (margin + 1), 0, 1)
    for axis, count in enumerate(tumor.shape):
        depth = np.minimum(np.arange(count), np.arange(count)[::-1]) / edge
        opacity = np.minimum(opacity, np.clip(depth, 0, 1).reshape([-1 if a == axis else 1 for a in range(3)]))
    covered = torch.from_numpy(opacity).half() * (case.image != 0).any(dim=0)
    return Graft(case.name, case.image, case.regions * (covered >= 0.5), covered, (0, 0, 0))


def moved(graft: Graft, host: PreparedCase, rng: np.random.Generator) -> Graft:
    """The graft with its middle at a random voxel of the host's brain."""
    places = torch.nonzero((host.image[:, ::4, ::4, ::4] != 0).any(dim=0)) * 4
    place = places[int(rng.integers(len(places)))].numpy()
    first = place - np.array(graft.opacity.shape) // 2 - np.array(host.regions.shape[1:]) // 2
    i, j, k = (int(n) for n in first)
    return replace(graft, offset=(i, j, k))


def shrunk(graft: Graft, scale: float) -> Graft:
    """The same tumor, smaller round the same middle; 0 < ``scale`` <= 1."""
    old = np.array(graft.opacity.shape)
    new = np.maximum(np.round(old * scale), 1).astype(int)
    size = (int(new[0]), int(new[1]), int(new[2]))

    def resize(volume: Tensor) -> Tensor:
        return F.interpolate(volume.float()[None], size=size, mode="trilinear", align_corners=False)[0]

    i, j, k = (int(n) for n in np.array(graft.offset) + (old - new) // 2)
    regions = (resize(graft.regions) >= 0.5).to(torch.uint8)
    return Graft(graft.name, resize(graft.image).half(), regions, resize(graft.opacity[None])[0].half(), (i, j, k))


def transplanted(graft: Graft, host: PreparedCase) -> PreparedCase | None:
    """``host`` with the graft at its place in the donor, relative to the middle; None if it does not fit."""
    shape = np.array(host.regions.shape[1:])
    first = shape // 2 + np.array(graft.offset)
    size = np.array(graft.opacity.shape)
    low, high = np.maximum(first, 0), np.minimum(first + size, shape)
    if (low >= high).any():
        return None
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True))
    image, regions = host.image.clone(), host.regions.clone()
    inside = (image[:, i, j, k] != 0).any(dim=0)
    placed = graft.regions[:, x, y, z] * inside
    if placed[2].sum() < LEAST_INSIDE * graft.regions[2].sum():
        return None
    opacity = graft.opacity[x, y, z] * inside
    image[:, i, j, k] = torch.lerp(image[:, i, j, k], graft.image[:, x, y, z], opacity.expand(len(image), -1, -1, -1))
    # A tumor that the host has already stays where the graft has less than half its opacity.
    regions[:, i, j, k] = torch.where(opacity >= 0.5, placed, regions[:, i, j, k])
    return PreparedCase(f"{graft.name} in {host.name}", rescaled(image, host.image), regions)
