"""Degradations of volumes in patient space: shrinking, other blurs, and thick slices as means of thin ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from acuity.errors import DataError
from acuity.imaging.forward_model import SliceProfile, downsample_cubic, resize_axes, upsample_cubic
from acuity.imaging.point_spread import PointSpread
from acuity.volume import Grid, Volume

_WHOLE = 1e-3  # tolerance for a whole number of thin slices in a thick one


def low_resolution(volume: Volume, factors: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> Volume:
    """The volume shrunk by antialiased cubic interpolation; the paper makes its LRBraTS so, along all axes.

    Parameters
    ----------
    factors : along i, j, k, 1 at least. The result has ceil(size / factor) voxels; the outer faces of the first voxels
        coincide
    """
    return Volume(np.clip(downsample_cubic(volume.array, factors), 0, None), _enlarged_voxels(volume.affine, factors))


def interpolated(volume: Volume, low: Volume) -> NDArray[np.float32]:
    """Tricubic interpolation of ``low`` onto the grid of ``volume``: the baseline."""
    factors = tuple(low.spacing / volume.spacing)
    return np.clip(upsample_cubic(low.array, factors, volume.shape), 0, None)


def averaged_slices(volume: Volume, count: int, axis: int) -> Volume:
    """Means of each ``count`` neighbors along ``axis``: a boxcar slice profile as wide as the slices, without gaps.

    Raises
    ------
    ValueError : the number of voxels along ``axis`` is not a multiple of ``count``
    """
    size = volume.shape[axis]
    if size % count:
        raise ValueError(f"{size} slices along axis {axis} are no multiple of {count}; crop them first")
    groups = volume.array.reshape(*volume.shape[:axis], size // count, count, *volume.shape[axis + 1 :])
    factors = [1.0, 1.0, 1.0]
    factors[axis] = float(count)
    return Volume(groups.mean(axis=axis + 1, dtype=np.float32), _enlarged_voxels(volume.affine, tuple(factors)))


def cropped_to_multiple(volume: Volume, count: int, axis: int) -> Volume:
    """The middle of the volume, a multiple of ``count`` voxels along ``axis``; an odd rest is cut at the end."""
    size = volume.shape[axis] // count * count
    start = (volume.shape[axis] - size) // 2
    affine = volume.affine.copy()
    affine[:3, 3] += start * affine[:3, axis]
    return replace(volume, array=np.take(volume.array, range(start, start + size), axis=axis), affine=affine)


def axial_axis(grid: Grid) -> int:
    """The array's axis nearest to the patient's foot-head direction."""
    return int(np.abs(grid.direction[2]).argmax())


@dataclass(frozen=True)
class Shrinking:
    """Antialiased cubic shrinking of axial slices by ``in_plane``, and across them by ``through``."""

    in_plane: float
    through: float
    slice_profile: ClassVar[SliceProfile] = "cubic"

    def __str__(self) -> str:
        """In words."""
        return f"antialiased cubic shrinking by {self.in_plane:g} in the axial plane, by {self.through:g} across it"

    def covered(self, volume: Volume) -> Volume:
        """Give the part that a result is compared with: the whole volume."""
        return volume

    def __call__(self, volume: Volume) -> Volume:
        """Give the low resolution."""
        factors = [self.in_plane] * 3
        factors[axial_axis(volume.grid)] = self.through
        return low_resolution(volume, (factors[0], factors[1], factors[2]))


@dataclass(frozen=True)
class Halved:
    """Twice the spacing along all axes, with a blur that super-resolution is not told."""

    spread: PointSpread
    slice_profile: ClassVar[SliceProfile] = "cubic"

    def __str__(self) -> str:
        """In words."""
        return f"twice the spacing along all axes, point spread function {self.spread}"

    def covered(self, volume: Volume) -> Volume:
        """Give the part that a result is compared with: the middle of even size."""
        for axis in range(3):
            volume = cropped_to_multiple(volume, 2, axis)
        return volume

    def __call__(self, volume: Volume) -> Volume:
        """Give the low resolution of a volume from ``covered``."""
        size = (volume.shape[0] // 2, volume.shape[1] // 2, volume.shape[2] // 2)
        array = torch.from_numpy(np.asarray(volume.array, dtype=np.float32))
        low = resize_axes(array, size, (2.0, 2.0, 2.0), [self.spread.matrix] * 3).abs()
        return Volume(low.numpy(), _enlarged_voxels(volume.affine, (2.0, 2.0, 2.0)))


@dataclass(frozen=True)
class ThickSlices:
    """Axial slices of ``thickness`` mm without gap, each the mean over its thickness (boxcar slice profile)."""

    thickness: float
    slice_profile: SliceProfile = field(default="box", init=False)

    def __str__(self) -> str:
        """In words."""
        return f"axial slices of {self.thickness:g} mm, the mean of what they cover (boxcar profile), without gap"

    def covered(self, volume: Volume) -> Volume:
        """Give the part that a result is compared with: the middle thin slices that fill whole thick ones.

        Raises
        ------
        DataError : a thick slice does not hold a whole number of two or more thin ones, or the volume is thinner
        """
        return cropped_to_multiple(volume, self._count(volume), axial_axis(volume.grid))

    def __call__(self, volume: Volume) -> Volume:
        """Give the low resolution of a volume from ``covered``."""
        return averaged_slices(volume, self._count(volume), axial_axis(volume.grid))

    def _count(self, volume: Volume) -> int:
        axis = axial_axis(volume.grid)
        ratio = self.thickness / float(volume.spacing[axis])
        count = round(ratio)
        if count < 2 or abs(ratio - count) > _WHOLE or volume.shape[axis] < count:
            raise DataError(
                f"{volume.shape[axis]} slices of {volume.spacing[axis]:g} mm make no slice of {self.thickness:g} mm.",
                rule="A thick slice is the mean of two or more whole thin ones.",
                remedy="Take volumes with thinner slices, or another thickness.",
            )
        return count


def _enlarged_voxels(affine: NDArray[np.float64], factors: tuple[float, ...]) -> NDArray[np.float64]:
    """The affine of voxels ``factors`` times as long along i, j, k; the outer faces of the first voxels coincide."""
    result = affine.copy()
    result[:3, :3] *= factors
    result[:3, 3] += affine[:3, :3] @ ((np.asarray(factors) - 1) / 2)
    return result
