"""Volumes and diameters of the tumor regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from acuity.anatomy import Region, labels_to_regions
from acuity.assessment import WHOLE, Assessment
from acuity.imaging.regions import mask_box
from acuity.volume import Grid, Volume


@dataclass(frozen=True)
class RegionMeasurement:
    """The size of one region.

    Parameters
    ----------
    region : ET, TC or WT
    volume_ml : of all its voxels; None where the region is not assessable, as are its lengths and components then
    longest_diameter_mm : longest distance in 3D between two points on the surface of its largest part;
        None for an empty region
    long_axis_mm : longest distance within one slice of the grid, of its largest part
    short_axis_mm : extent of the same slice's section perpendicular to that long axis
    components : number of separate parts (voxels that touch at a face, an edge or a corner are connected)
    not_assessable : why nothing is measured; "" where it is
    """

    region: Region
    volume_ml: float | None
    longest_diameter_mm: float | None = None
    long_axis_mm: float | None = None
    short_axis_mm: float | None = None
    components: int | None = 0
    not_assessable: str = ""


def measure_regions(labels: Volume, assessment: Assessment = WHOLE) -> tuple[RegionMeasurement, ...]:
    """Measure ET, TC and WT of a label volume, on its own grid in mm.

    Diameters are measured on the largest connected part, so that neither a second lesion nor a stray voxel stretches
    them. Their ends lie on the surface half-way between voxel centers inside and outside, as in IBSI's "Maximum 3D
    diameter" (L0JK): a single voxel of 1 mm measures 1 mm.

    Parameters
    ----------
    labels : uint8 (I, J, K) of 0, 1, 2 and 4
    assessment : what the images can tell; nothing is measured of the other regions

    Returns
    -------
    One measurement a region, in the order of ``Region``.
    """
    masks = labels_to_regions(labels.array)
    return tuple(
        RegionMeasurement(region, None, components=None, not_assessable=reason)
        if (reason := assessment.why_not_measured(region))
        else _measure(region, mask, labels.grid)
        for region, mask in zip(Region, masks, strict=True)
    )


def _measure(region: Region, mask: NDArray[np.bool_], grid: Grid) -> RegionMeasurement:
    box = mask_box(mask)
    if box is None:
        return RegionMeasurement(region, 0.0)
    volume_ml = float(mask.sum() * grid.voxel_volume)
    parts, count = ndimage.label(mask[box], structure=np.ones((3, 3, 3)))
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    matrix = grid.affine[:3, :3]
    longest = _farthest(_surface_points(largest) @ matrix.T)[0]
    long_axis, short_axis = _in_plane_axes(largest, matrix)
    return RegionMeasurement(region, volume_ml, longest, long_axis, short_axis, int(count))


def _surface_points(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, mask.ndim): centers, in voxel coordinates, of the faces between voxels inside and outside."""
    padded = np.pad(mask, 1)
    points = []
    for axis in range(mask.ndim):
        faces = np.argwhere(np.diff(padded.astype(np.int8), axis=axis)).astype(np.float64) - 1.0
        faces[:, axis] += 0.5
        points.append(faces)
    return np.concatenate(points)


def _farthest(points: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The longest distance between any two of (N, D) points, and the unit vector (D,) along it.

    The two points are corners of the convex hull, so that only those are compared.
    """
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # fewer points than a body has, or all in one plane
        corners = points
    distances = pdist(corners)
    first, second = np.transpose(np.triu_indices(len(corners), 1))[int(distances.argmax())]
    longest = float(distances.max())
    return longest, (corners[second] - corners[first]) / longest


def _in_plane_axes(mask: NDArray[np.bool_], matrix: NDArray[np.float64]) -> tuple[float, float]:
    """The longest diameter within a slice (mm) and the section's extent perpendicular to it (mm).

    ``matrix`` (3, 3) maps steps along i, j, k to mm.
    """
    # Slices are planes: two coordinates in mm describe them, by the rows of an orthonormal basis.
    plane = np.linalg.qr(matrix[:, :2])[0].T @ matrix[:, :2]
    longest = short = 0.0
    for k in np.flatnonzero(mask.any(axis=(0, 1))):
        points = _surface_points(mask[:, :, k]) @ plane.T
        length, (x, y) = _farthest(points)
        if length > longest:
            across = points @ np.array([-y, x])
            longest, short = length, float(np.ptp(across))
    return longest, short
