"""Tumors carved out of one brain and set into another that has none: more brains than there are cases.

After Zhang et al., "CarveMix: A Simple Data Augmentation Method for Brain Lesion Segmentation", MICCAI 2021
(arXiv:2108.06883), but that the border is blended and the host is free of tumors, so that labels are certain.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import rescaled

MARGIN = 6.0  # mm over which a tumor's surroundings fade into the host's
LEAST_SCALE = 0.4  # to which a tumor is shrunk at most: the cases have few small ones
LEAST_INSIDE = 0.9  # of the tumor's voxels; one that lies less inside the host's brain is not set in


@dataclass(frozen=True)
class Graft:
    """A tumor with what is round it, cut from a case.

    Parameters
    ----------
    image, regions : as ``PreparedCase`` has them, within a box
    opacity : float16 (I, J, K), 1 on the tumor, falling to 0 round it
    offset : voxels from the middle of the donor's box to the first corner of the graft's
    """

    name: str
    image: Tensor
    regions: Tensor
    opacity: Tensor
    offset: tuple[int, int, int]


@dataclass(frozen=True)
class OtherBrains:
    """A source of brains that are no cases: without a tumor, or with the tumor of another.

    Parameters
    ----------
    tumor_free : at least one
    grafts : none for brains without tumors alone
    graft_share : how many of the brains get one or more
    shrunk_share : of the grafts
    further_share : of the brains with a graft that get another one, and so on
    """

    tumor_free: Seq[PreparedCase]
    grafts: Seq[Graft] = ()
    graft_share: float = 0.6
    shrunk_share: float = 0.5
    further_share: float = 0.25

    def draw(self, rng: np.random.Generator) -> PreparedCase:
        """A brain that depends on ``rng`` alone."""
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
    """The tumors of ``cases``; ``spacing`` is that of their voxels in mm."""
    return [graft for case in cases if (graft := carve(case, round(MARGIN / spacing))) is not None]


def carve(case: PreparedCase, margin: int) -> Graft | None:
    """The tumor of a case; None where it has none.

    margin : voxels over which it fades into the host
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


def shrunk(graft: Graft, scale: float) -> Graft:
    """A smaller tumor of the same appearance round the same middle; 0 < ``scale`` <= 1."""
    old = np.array(graft.opacity.shape)
    new = np.maximum(np.round(old * scale), 1).astype(int)
    size = (int(new[0]), int(new[1]), int(new[2]))

    def resize(volume: Tensor) -> Tensor:
        return F.interpolate(volume.float()[None], size=size, mode="trilinear", align_corners=False)[0]

    i, j, k = (int(n) for n in np.array(graft.offset) + (old - new) // 2)
    regions = (resize(graft.regions) >= 0.5).to(torch.uint8)
    return Graft(graft.name, resize(graft.image).half(), regions, resize(graft.opacity[None])[0].half(), (i, j, k))


def transplanted(graft: Graft, host: PreparedCase) -> PreparedCase | None:
    """``host`` with the graft where it lay in its donor, relative to the middle; None where it does not fit in."""
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
    # Where the host has a tumor already, it stays beyond the middle of the border.
    regions[:, i, j, k] = torch.where(opacity >= 0.5, placed, regions[:, i, j, k])
    return PreparedCase(f"{graft.name} in {host.name}", rescaled(image, host.image), regions)
