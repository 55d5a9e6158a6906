"""How much of the brain an image shows: its field of view, less what was filled in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acuity.imaging.brain import border_value
from acuity.imaging.regions import mask_box
from acuity.volume import Grid, Volume

# Cerebrospinal fluid may be 0, and two strippings of one brain differ by a rim: only what is thicker was filled in.
_RIM_MM = 5.0
_NOTICED = 0.01  # of the brain; less than that is not looked at
_CUT_CM2 = 15.0  # of brain on a face of the field of view; the brain stem alone, which every slab may cut, has less
_BEYOND_MM = 10.0  # how far a field of view must reach beyond that face to show more of the brain


def shown(volume: Volume, brain: Volume) -> Volume:
    """Where an image shows something, uint8 on its own grid: everywhere but where one value fills a part of the brain.

    That is how images look that were resampled to a larger field of view. Around a stripped brain the same value is
    the background.

    Parameters
    ----------
    volume : the image
    brain : uint8 mask on its grid
    """
    dark = volume.array == border_value(volume.array)
    inside = dark & (brain.array > 0)
    filled = np.zeros(volume.shape, dtype=bool)
    if np.count_nonzero(inside) > _NOTICED * np.count_nonzero(brain.array):
        box = mask_box(inside, margin=1)
        assert box is not None
        filled[box] = _thick(inside[box] & _reaches_border(dark)[box], volume.spacing)
    return volume.with_array((~filled).astype(np.uint8))


def share(mask: Volume, brain: Volume) -> float:
    """The part of the brain, 0 to 1, that lies in a mask on the same grid."""
    inside = brain.array > 0
    count = int(inside.sum())
    return float((mask.array[inside] > 0).sum()) / count if count else 0.0


def beyond_faces(brain: Volume) -> NDArray[np.float64]:
    """(N, 3): points in LPS mm, a little beyond the faces of a field of view that cut the brain; none for a whole one.

    Parameters
    ----------
    brain : uint8 mask on the grid of that field of view
    """
    points = [np.empty((0, 3))]
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        area = float(np.prod(brain.spacing[others])) / 100
        for index, outward in ((0, -1), (brain.shape[axis] - 1, 1)):
            cut = np.argwhere(np.take(brain.array, index, axis=axis) > 0)
            if len(cut) * area < _CUT_CM2:
                continue
            voxels = np.empty((len(cut), 3))
            voxels[:, others] = cut
            voxels[:, axis] = index + outward * _BEYOND_MM / brain.spacing[axis]
            points.append(voxels @ brain.affine[:3, :3].T + brain.affine[:3, 3])
    return np.concatenate(points)


def part_inside(points: NDArray[np.float64], grid: Grid, matrix: NDArray[np.float64]) -> float:
    """The part, 0 to 1, of points (N, 3) that lie in a grid's field of view; 0 where there are none.

    Parameters
    ----------
    matrix : (4, 4) from the points' space to the grid's, LPS mm
    """
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    voxels = np.linalg.solve(grid.affine[:3, :3], (moved - grid.origin).T).T
    inside = ((voxels >= -0.5) & (voxels <= np.asarray(grid.shape) - 0.5)).all(axis=1)
    return float(inside.mean()) if len(points) else 0.0


def slices_shown(mask: Volume, brain: Volume) -> slice:
    """The slices along k, from the first to the last, that an image on the same grid shows in the main.

    Of a slice with brain that is half of its brain. Slices beside these count if they show half of what the fullest
    slice shows: air, or a neck.

    Parameters
    ----------
    mask : as ``acuity.imaging.resampling.mask_on_grid`` gives it on another grid
    brain : uint8 mask on its grid

    Raises
    ------
    ValueError : no slice of the brain is shown
    """
    seen, inside = mask.array > 0, brain.array > 0
    brains, parts = (np.count_nonzero(one, axis=(0, 1)) for one in (inside, seen))
    with_brain = np.flatnonzero((brains > 0) & (2 * np.count_nonzero(seen & inside, axis=(0, 1)) >= brains))
    if not with_brain.size:
        raise ValueError("the image shows no slice of the brain")
    first, last = int(with_brain[0]), int(with_brain[-1])
    beside = (brains == 0) & (2 * parts >= parts.max())
    while first > 0 and beside[first - 1]:
        first -= 1
    while last + 1 < len(beside) and beside[last + 1]:
        last += 1
    return slice(first, last + 1)


def _thick(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The thick parts of a mask: those around balls of ``_RIM_MM``, with their corners."""
    thick = ndimage.distance_transform_edt(mask, sampling=spacing) > _RIM_MM
    if not thick.any():
        return thick
    return mask & (ndimage.distance_transform_edt(~thick, sampling=spacing) <= 2 * _RIM_MM)


def _reaches_border(dark: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts that touch the end of the array: ventricles do not."""
    labels, _ = ndimage.label(dark)
    sides = [np.take(labels, index, axis=axis).ravel() for axis in range(3) for index in (0, -1)]
    return np.isin(labels, np.unique(np.concatenate(sides))) & dark
