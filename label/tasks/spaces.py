"""From the space that the library works in to the series that an annotator opened, and back."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np

from acuity.anatomy import Sequence
from acuity.models.source_grid import labels_on_grid
from acuity.pipeline.preparation import Prepared
from acuity.volume import Grid, Volume


def labels_on_series(labels: Volume, prepared: Prepared, sequence: Sequence) -> Volume:
    """Labels of the reference's space, on the grid of one series of the case.

    Parameters
    ----------
    labels : uint8 of 0, 1, 2 and 4 on any grid of the reference's space
    sequence : what the series shows
    """
    series, rigid = prepared.volumes[sequence], prepared.alignment[sequence]
    moved = replace(labels, affine=rigid.matrix @ labels.affine) if rigid.performed else labels
    found = labels_on_grid(moved, series.grid)
    return series.with_array(found.array)


def labels_in_reference_space(labels: Volume, prepared: Prepared, sequence: Sequence) -> Volume:
    """Labels that were drawn on one series, where they lie in the reference's space; nothing is interpolated."""
    rigid = prepared.alignment[sequence]
    return replace(labels, affine=np.linalg.inv(rigid.matrix) @ labels.affine) if rigid.performed else labels


def network_grid(grid: Grid) -> Grid:
    """The grid over the same field of view that networks are trained on: 1 mm, i left, j back, k up as far as can be.

    Axes are exchanged and mirrored, but not turned: an oblique grid stays oblique.
    """
    # nibabel's axis codes are those of RAS; of an LPS affine they read left, posterior, superior.
    orientation = nib.orientations.io_orientation(grid.affine)
    to_given = nib.orientations.inv_ornt_aff(orientation, grid.shape)
    shape = [0, 0, 0]
    for axis, target in enumerate(orientation[:, 0].astype(int)):
        shape[target] = grid.shape[axis]
    return Grid((shape[0], shape[1], shape[2]), grid.affine @ to_given).with_spacing((1.0, 1.0, 1.0))
