"""Grids and volumes in patient space; SimpleITK, whose space is LPS too, judges."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk

from acuity.volume import Grid, Volume
from tests.dicom_builder import oblique_affine

AXES = [np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_canonical_axes_run_left_back_and_up(axes: np.ndarray) -> None:
    affine = oblique_affine((1.0, 2.0, 3.0), (10.0, -8.0, 12.0))
    affine[:3, :3] = affine[:3, :3] @ axes
    volume = Volume(np.random.default_rng(0).random((4, 5, 6)).astype(np.float32), affine)
    judge = volume.from_sitk(sitk.DICOMOrient(volume.to_sitk(), "LPS"))
    canonical = volume.grid.canonical()
    assert canonical.same_as(judge.grid)
    channels = np.stack([volume.array, -volume.array])
    found = volume.grid.to_canonical(channels)
    np.testing.assert_array_equal(found, np.stack([judge.array, -judge.array]))
    np.testing.assert_array_equal(volume.grid.from_canonical(found), channels)
    np.testing.assert_array_equal(volume.grid.to_canonical(volume.array), judge.array)
    assert canonical.canonical().same_as(canonical)


def test_other_spacing_covers_the_same_field_of_view() -> None:
    grid = Grid((10, 12, 7), oblique_affine((2.0, 1.5, 4.0)))
    fine = grid.with_spacing((1.0, 3.0, 0.7))
    np.testing.assert_allclose(fine.spacing, (1.0, 3.0, 0.7))
    np.testing.assert_allclose(fine.affine @ [-0.5, -0.5, -0.5, 1], grid.affine @ [-0.5, -0.5, -0.5, 1])
    ends = [g.affine @ [*(np.array(g.shape) - 0.5), 1] for g in (grid, fine)]
    assert np.linalg.norm(ends[0] - ends[1]) < 0.5 * np.linalg.norm(fine.spacing)
    assert grid.with_spacing((100.0, 100.0, 100.0)).shape == (1, 1, 1)


def test_grids_are_the_same_within_a_hundredth_of_a_millimeter_at_every_corner() -> None:
    grid = Grid((100, 100, 100), np.eye(4))
    for stretch, same in ((0.9e-4, True), (1.005e-4, True), (1.015e-4, False)):
        affine = np.diag([1 + stretch, 1, 1, 1])
        assert grid.same_as(Grid(grid.shape, affine)) is same
        affine[0, 3] = -99 * stretch  # now the last corners coincide, and the first do not
        assert grid.same_as(Volume(np.zeros(grid.shape), affine).grid) is same
    assert not grid.same_as(Grid((100, 100, 99), np.eye(4)))


def test_a_voxel_has_its_volume_in_ml() -> None:
    assert Grid((1, 1, 1), oblique_affine((2.0, 2.5, 4.0))).voxel_volume == pytest.approx(0.02)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(4, 4\)"):
        Grid((1, 1, 1), np.eye(3))
    with pytest.raises(ValueError, match="three axes"):
        Volume(np.zeros((2, 2)), np.eye(4))
    volume = Volume(np.zeros((2, 2, 2)), np.eye(4))
    with pytest.raises(ValueError, match="the grid has"):
        volume.with_array(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="the grid has"):
        volume.on_grid(np.zeros((2, 2, 2)), Grid((2, 2, 3), np.eye(4)))
