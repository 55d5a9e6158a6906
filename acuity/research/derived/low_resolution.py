"""LRBraTS and its like: BraTS cases at low resolution or in thick slices, and brought back from there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from acuity.anatomy import Sequence, labels_to_regions, regions_to_labels
from acuity.imaging.forward_model import SliceProfile, box_matrix, resize_axes
from acuity.research.degradations.volumes import ThickSlices, axial_axis, low_resolution
from acuity.research.derived.sets import Case, Derivation
from acuity.research.restoration import VolumeMethod
from acuity.volume import Grid, Volume


class ResolutionLoss(Derivation, Protocol):
    """How resolution is lost."""

    slice_profile: ClassVar[SliceProfile]

    @property
    def extent(self) -> dict[str, float]:
        """How much of it, for the description."""

    def __str__(self) -> str:
        """What becomes of images, in words."""

    def shrunk(self, volume: Volume) -> Volume:
        """One image."""


_HALF = "a voxel belongs to ET, TC or WT where that region fills half of it or more"


@dataclass(frozen=True)
class LowResolution:
    """Images and labels at 1/``scale`` of the resolution along each axis: the paper's LRBraTS."""

    scale: float = 2.0
    slice_profile: ClassVar[SliceProfile] = "cubic"

    def __str__(self) -> str:
        """As ``ResolutionLoss`` says."""
        return "shrunk as LRBraTS is"

    @property
    def extent(self) -> dict[str, float]:
        """As ``ResolutionLoss`` says."""
        return {"scale": self.scale}

    @property
    def description(self) -> dict[str, object]:
        """As ``Derivation`` says."""
        images = (
            "shrunk by antialiased cubic interpolation (a = -0.5); ceil(size / scale) voxels, the outer faces of the "
            "first ones where they were"
        )
        return {"kind": "lr", **self.extent, "images": images, "labels": _HALF}

    def __call__(self, case: Case) -> Case:
        """See the class."""
        return _shrunk_case(case, self, (self.scale, self.scale, self.scale))

    def shrunk(self, volume: Volume) -> Volume:
        """One image."""
        return low_resolution(volume, (self.scale, self.scale, self.scale))


@dataclass(frozen=True)
class ThickSliced:
    """Images and labels in axial slices of ``thickness`` mm, as 2D protocols measure them."""

    thickness: float
    slice_profile: ClassVar[SliceProfile] = "box"

    def __str__(self) -> str:
        """As ``ResolutionLoss`` says."""
        return f"{ThickSlices(self.thickness)}; of too few thin slices at the end, the last is repeated"

    @property
    def extent(self) -> dict[str, float]:
        """As ``ResolutionLoss`` says."""
        return {"slice_thickness_mm": self.thickness}

    @property
    def description(self) -> dict[str, object]:
        """As ``Derivation`` says."""
        images = f"{self}; the outer faces of the first ones where they were"
        return {"kind": "lr", **self.extent, "images": images, "labels": _HALF}

    def __call__(self, case: Case) -> Case:
        """See the class.

        Raises
        ------
        DataError : a slice of ``thickness`` holds no whole number of the case's, two at least
        """
        grid = case.images[Sequence.T1].grid
        factors = [1.0, 1.0, 1.0]
        factors[axial_axis(grid)] = float(self._count(grid))
        return _shrunk_case(case, self, (factors[0], factors[1], factors[2]))

    def shrunk(self, volume: Volume) -> Volume:
        """One image; raises as for a case."""
        thick, axis = ThickSlices(self.thickness), axial_axis(volume.grid)
        thick.covered(volume)  # refuses what makes no whole slices, and says of how many
        # The set keeps the whole field of view: nothing is cropped to a multiple, as a comparison of volumes does it.
        repeated = [(0, 0), (0, 0), (0, 0)]
        repeated[axis] = (0, -volume.shape[axis] % self._count(volume.grid))
        return thick(replace(volume, array=np.pad(volume.array, repeated, mode="edge")))

    def _count(self, grid: Grid) -> int:
        """Thin slices in a thick one."""
        return round(self.thickness / float(grid.spacing[axial_axis(grid)]))


@dataclass(frozen=True)
class BroughtBack:
    """The low resolution brought back to the case's own grid by ``method``; the labels are the case's own.

    What was 0 in all sequences of the case is 0 again: the brain was extracted, and stays so.
    """

    low: ResolutionLoss
    method: VolumeMethod

    @property
    def description(self) -> dict[str, object]:
        """As ``Derivation`` says."""
        return {
            "kind": "interpolated" if self.method.bundle is None else "sr",
            **self.low.extent,
            "images": f"{self.low}, brought back to the case's own grid; 0 where all its sequences are",
            "labels": "the case's own",
            "method": self.method.origin,
        }

    def __call__(self, case: Case) -> Case:
        """See the class."""
        brain = case.brain
        images = {}
        for sequence, volume in case.images.items():
            restored = self.method(volume, self.low.shrunk(volume), slice_profile=self.low.slice_profile)
            images[sequence] = volume.with_array(np.where(brain, restored.array, np.float32(0)))
        return replace(case, images=images)


def shrunk_labels(labels: NDArray[np.uint8], factors: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Labels in voxels ``factors`` times as long: a voxel belongs to a region that fills half of it or more.

    Regions, not labels, are what fills it: a voxel of half edema and half core is tumor. Where the grid ends beyond
    the labels', the last voxels go on (edge replication), as those of images do.

    Parameters
    ----------
    labels : (I, J, K) of 0, 1, 2, 4
    factors : along i, j, k, 1 at least; the result has ceil(size / factor) voxels
    """
    size = tuple(int(np.ceil(n / factor)) for n, factor in zip(labels.shape, factors, strict=True))
    regions = torch.from_numpy(labels_to_regions(labels).astype(np.float32))
    filled = resize_axes(regions, size, factors, [box_matrix] * 3).numpy()
    # Half is half in spite of rounding.
    return regions_to_labels(filled >= 0.5 - 1e-4)


def _shrunk_case(case: Case, low: ResolutionLoss, factors: tuple[float, float, float]) -> Case:
    images = {sequence: low.shrunk(volume) for sequence, volume in case.images.items()}
    if case.labels is None:
        return replace(case, images=images)
    labels = Volume(shrunk_labels(case.labels.array, factors), images[Sequence.T1].affine)
    return Case(case.name, images, labels)
