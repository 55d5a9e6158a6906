"""Labels from one grid or space to another: of the library, of a series, of a file that a viewer wrote."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from acuity.anatomy import Sequence
from acuity.models.source_grid import labels_on_grid
from acuity.pipeline.preparation import Prepared
from acuity.volume import Grid, Volume

# In voxels: viewers round positions; a voxel that lies further off belongs to another lattice.
_TOLERANCE = 0.05


def exact_labels(labels: Volume, grid: Grid, *, drawn_there: bool = False) -> Volume | None:
    """The same voxels on ``grid``, which may be cut, longer, flipped or have its axes in another order.

    Parameters
    ----------
    labels : uint8 of 0, 1, 2 and 4
    grid : where they are wanted, LPS mm
    drawn_there : whether they are known to have been drawn on ``grid``. Then the distance of their slices does not
        matter: viewers store painted slices only, and where they declare no distance, what lies between is unknown.

    Returns
    -------
    Volume
        uint8 on ``grid``, or None where a labeled voxel has no voxel of its own there.
    """
    transform = np.linalg.inv(grid.affine) @ labels.affine
    axes = np.array([a for a in range(3) if labels.shape[a] > 1 and not (drawn_there and a == 2)], dtype=int)
    steps = np.abs(transform[:3, axes])
    if not np.allclose([steps.max(axis=0), steps.sum(axis=0)], 1.0, atol=_TOLERANCE):
        return None  # other spacing or orientation
    array: NDArray[np.uint8] = np.zeros(grid.shape, np.uint8)
    for k in range(labels.shape[2]):  # slice by slice: the places of all voxels would take 100 times their memory
        voxels = np.argwhere(labels.array[:, :, k])
        places = voxels @ transform[:3, :2].T + transform[:3, 2] * k + transform[:3, 3]
        indices = np.round(places).astype(int)
        if np.abs(places - indices).max(initial=0.0) > _TOLERANCE:
            return None
        if ((indices < 0) | (indices >= np.array(grid.shape))).any():
            return None
        array[tuple(indices.T)] = labels.array[:, :, k][tuple(voxels.T)]
    return labels.on_grid(array, grid)


def placed_labels(labels: Volume, grid: Grid, *, drawn_there: bool = False) -> Volume:
    """The labels on ``grid``: exact where possible, else with each region's volume kept, see ``labels_on_grid``."""
    exact = exact_labels(labels, grid, drawn_there=drawn_there)
    if exact is not None:
        return exact
    # A segmentation ends with its last labeled slice, and interpolation needs to see that nothing follows.
    affine = labels.affine.copy()
    affine[:3, 3] -= affine[:3, :3].sum(axis=1)
    padded = np.pad(labels.array, 1)
    return labels_on_grid(labels.on_grid(padded, Grid(padded.shape, affine)), grid)


def labels_on_series(labels: Volume, prepared: Prepared, sequence: Sequence) -> Volume:
    """Labels of the reference's space, uint8 on any grid of it, on the grid of one series of the case."""
    series, rigid = prepared.volumes[sequence], prepared.alignment[sequence]
    moved = replace(labels, affine=rigid.matrix @ labels.affine) if rigid.performed else labels
    return series.with_array(labels_on_grid(moved, series.grid).array)


def labels_in_reference_space(labels: Volume, prepared: Prepared, sequence: Sequence) -> Volume:
    """Labels that were drawn on one series, where they lie in the reference's space; nothing is interpolated."""
    rigid = prepared.alignment[sequence]
    return replace(labels, affine=np.linalg.inv(rigid.matrix) @ labels.affine) if rigid.performed else labels
