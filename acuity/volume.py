"""The one type of image between the reader and the writer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import highdicom as hd
import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset

# NIfTI's patient axes point to the right and front, DICOM's to the left and back; the matrix is its own inverse.
RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: a shape and an affine.

    Parameters
    ----------
    shape : voxels along i, j, k; i runs along a row (DICOM column index), j down a column (DICOM row
        index), k along the stack of slices
    affine : float64 (4, 4); maps (i, j, k, 1) of a voxel center to patient coordinates in mm, LPS
        (x to the left, y to the back, z to the head), as DICOM PS3.3 C.7.6.2.1.1 defines them
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4):
            raise ValueError(f"affine has shape {affine.shape}; it must be (4, 4)")
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @cached_property
    def spacing(self) -> NDArray[np.float64]:
        """Distance between voxel centers along i, j, k in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @cached_property
    def direction(self) -> NDArray[np.float64]:
        """(3, 3); the columns are the unit vectors of i, j, k in LPS."""
        return self.affine[:3, :3] / self.spacing

    @property
    def origin(self) -> NDArray[np.float64]:
        """Center of voxel (0, 0, 0) in mm, LPS."""
        return self.affine[:3, 3]

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel in ml (cm^3)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    def with_spacing(self, spacing: tuple[float, float, float]) -> Grid:
        """The grid over the same field of view with other voxels.

        The outer faces of the first voxels coincide; the shape is rounded, so that at the far end the
        field of view agrees within half a new voxel.
        """
        new = np.asarray(spacing, dtype=np.float64)
        shape = np.maximum(1, np.round(np.asarray(self.shape) * self.spacing / new)).astype(int)
        affine = self.affine.copy()
        affine[:3, :3] = self.direction * new
        affine[:3, 3] = self.origin + self.direction @ ((new - self.spacing) / 2.0)
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def canonical(self) -> Grid:
        """The same voxels with i to the left, j to the back and k to the head, as far as can be.

        Axes are exchanged and mirrored, but not turned: an oblique grid stays oblique.
        """
        i, j, k = (self.shape[axis] for axis in np.argsort(self._orientation[:, 0]))
        return Grid((i, j, k), self.affine @ nib.orientations.inv_ornt_aff(self._orientation, self.shape))

    def to_canonical(self, array: NDArray) -> NDArray:
        """An array (..., I, J, K) of this grid's axes, or of a box of it, with those of ``canonical``."""
        return _reoriented(array, self._orientation)

    def from_canonical(self, array: NDArray) -> NDArray:
        """The reverse of ``to_canonical``."""
        back = nib.orientations.ornt_transform([[0, 1], [1, 1], [2, 1]], self._orientation)
        return _reoriented(array, back)

    @cached_property
    def _orientation(self) -> NDArray[np.float64]:
        """(3, 2): the canonical axis that each axis runs along, and 1 or -1 for its direction."""
        # nibabel speaks of right, anterior, superior; of an affine in LPS it means left, posterior, superior.
        return nib.orientations.io_orientation(self.affine)

    def same_as(self, other: Grid, tolerance: float = 1e-2) -> bool:
        """Whether both have one shape and no corner is further apart than ``tolerance`` mm."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[[0, n - 1] for n in self.shape])).reshape(3, -1)
        difference = (self.affine - other.affine) @ np.vstack([corners, np.ones(8)])
        return bool(np.abs(difference[:3]).max() <= tolerance)


@dataclass(frozen=True)
class Volume:
    """A 3D image in patient space.

    Parameters
    ----------
    array : (I, J, K), indexed [i, j, k] as ``Grid`` says; float32 for images, uint8 for labels
    affine : (4, 4), LPS mm, see ``Grid``
    frame_of_reference_uid : DICOM's name of the patient space, None if the images gave none
    source_images : the datasets the volume was read from, or is derived from, sorted along k; headers
        only (no pixel data is needed)
    source_frames : of the one multi-frame source image, the frames that the volume was read from, from 0; None for
        single-frame images, or for all frames
    """

    array: NDArray
    affine: NDArray[np.float64]
    frame_of_reference_uid: str | None = None
    source_images: tuple[Dataset, ...] = field(default=(), repr=False)
    source_frames: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise ValueError(f"array has shape {self.array.shape}; a volume has three axes i, j, k")
        object.__setattr__(self, "affine", np.asarray(self.affine, dtype=np.float64))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        return self.array.shape

    @cached_property
    def grid(self) -> Grid:
        """Shape and affine."""
        return Grid(self.shape, self.affine)

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Distance between voxel centers along i, j, k in mm."""
        return self.grid.spacing

    def with_array(self, array: NDArray) -> Volume:
        """Another image on the same grid."""
        if array.shape != self.array.shape:
            raise ValueError(f"array has shape {array.shape}; the grid has {self.array.shape}")
        return replace(self, array=array)

    def on_grid(self, array: NDArray, grid: Grid) -> Volume:
        """``array`` on another grid in the same patient space, derived from the same images."""
        if array.shape != grid.shape:
            raise ValueError(f"array has shape {array.shape}; the grid has {grid.shape}")
        return replace(self, array=array, affine=grid.affine)

    def to_sitk(self) -> sitk.Image:
        """The same image for SimpleITK, whose space is LPS too."""
        image = sitk.GetImageFromArray(np.ascontiguousarray(self.array.transpose(2, 1, 0)))
        image.SetSpacing([float(s) for s in self.grid.spacing])
        image.SetOrigin([float(x) for x in self.grid.origin])
        image.SetDirection([float(x) for x in self.grid.direction.ravel()])
        return image

    def from_sitk(self, image: sitk.Image) -> Volume:
        """``image`` as a volume that keeps this one's frame of reference and source images."""
        return replace(
            self,
            array=np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0)),
            affine=sitk_affine(image),
        )

    def to_highdicom(self) -> hd.Volume:
        """The same image for highdicom, whose axes are slice, row, column."""
        return hd.Volume(
            array=np.ascontiguousarray(self.array.transpose(2, 1, 0)),
            affine=self.affine[:, [2, 1, 0, 3]],
            coordinate_system="PATIENT",
            frame_of_reference_uid=self.frame_of_reference_uid,
        )


def _reoriented(array: NDArray, orientation: NDArray[np.float64]) -> NDArray:
    """The last three axes of an array exchanged and mirrored."""
    first = np.moveaxis(array, (-3, -2, -1), (0, 1, 2))
    return np.moveaxis(nib.orientations.apply_orientation(first, orientation), (0, 1, 2), (-3, -2, -1))


def sitk_affine(image: sitk.Image) -> NDArray[np.float64]:
    """The (4, 4) affine of a SimpleITK image: index (i, j, k) to LPS mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine
