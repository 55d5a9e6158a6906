"""Labels on another grid: voxel for voxel where both share a lattice, else in place and of one volume."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from acuity.volume import Grid, Volume
from label.spaces import exact_labels, placed_labels
from tests.dicom_builder import oblique_affine

SHAPE = (14, 11, 9)
AFFINE = oblique_affine()  # 0.8 x 1.3 x 2.5 mm, turned about each axis


def labels() -> Volume:
    array = np.zeros(SHAPE, np.uint8)
    array[3:10, 2:8, 2:7] = np.random.default_rng(0).choice([0, 1, 2, 4], (7, 6, 5))
    return Volume(array, AFFINE)


def at_millimeters(volume: Volume) -> dict[tuple[float, ...], int]:
    """Each labeled voxel by where it lies."""
    places = np.argwhere(volume.array) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return dict(zip(map(tuple, np.round(places, 3) + 0.0), volume.array[volume.array > 0].tolist(), strict=True))


def shifted(affine: NDArray[np.float64], voxels: tuple[float, float, float]) -> NDArray[np.float64]:
    moved = affine.copy()
    moved[:3, 3] = (affine @ [*voxels, 1.0])[:3]
    return moved


def flipped(axis: int) -> Grid:
    turn = np.eye(4)
    turn[axis, axis], turn[axis, 3] = -1, SHAPE[axis] - 1
    return Grid(SHAPE, AFFINE @ turn)


@pytest.mark.parametrize(
    "grid",
    [
        Grid(SHAPE, AFFINE),
        flipped(0),
        flipped(1),
        flipped(2),
        Grid((9, 14, 11), AFFINE[:, [2, 0, 1, 3]]),
        Grid((7, 6, 5), shifted(AFFINE, (3, 2, 2))),
        Grid((20, 20, 20), shifted(AFFINE, (-2, -3, -4))),
        Grid(SHAPE, shifted(AFFINE, (0.003, -0.002, 0.004))),
    ],
    ids=["same", "i flipped", "j flipped", "k flipped", "axes turned", "cut", "longer", "rounded"],
)
def test_a_shared_lattice_keeps_every_voxel(grid: Grid) -> None:
    exact = exact_labels(labels(), grid)
    assert exact is not None
    assert exact.shape == grid.shape
    if not np.allclose(grid.affine, shifted(AFFINE, (0.003, -0.002, 0.004))):
        assert at_millimeters(exact) == at_millimeters(labels())
    else:
        np.testing.assert_array_equal(exact.array, labels().array)
    np.testing.assert_array_equal(placed_labels(labels(), grid).array, exact.array)


@pytest.mark.parametrize(
    "grid",
    [
        Grid(SHAPE, shifted(AFFINE, (0.4, 0.0, 0.0))),
        Grid((28, 22, 18), AFFINE @ np.diag([0.5, 0.5, 0.5, 1.0])),
        Grid((7, 6, 5), AFFINE @ np.diag([2.0, 2.0, 2.0, 1.0])),
        Grid(SHAPE, oblique_affine(angles=(21.0, -12.0, 33.0))),
        Grid((5, 6, 5), shifted(AFFINE, (3, 2, 2))),
    ],
    ids=["between", "finer", "coarser", "turned", "cuts labels off"],
)
def test_another_lattice_is_not_taken_for_the_same(grid: Grid) -> None:
    assert exact_labels(labels(), grid) is None


def test_one_slice_needs_no_slice_distance() -> None:
    """A segmentation of one slice cannot show how far apart slices are."""
    one = Volume(labels().array[:, :, 4:5], shifted(AFFINE, (0, 0, 4)) @ np.diag([1, 1, 1.7, 1.0]))
    exact = exact_labels(one, Grid(SHAPE, AFFINE))
    assert exact is not None
    np.testing.assert_array_equal(exact.array[:, :, 4], labels().array[:, :, 4])
    assert not np.delete(exact.array, 4, axis=2).any()


def test_slices_of_unknown_distance_are_put_where_they_were_drawn() -> None:
    """Painted slices 2 and 6 alone, as a viewer stores them that says nothing of the distance."""
    painted = labels().array[:, :, [2, 6]]
    sparse = Volume(painted, shifted(AFFINE, (0, 0, 2)) @ np.diag([1, 1, 4.0, 1.0]))
    assert exact_labels(sparse, Grid(SHAPE, AFFINE)) is None  # may as well be slices of 10 mm
    exact = placed_labels(sparse, Grid(SHAPE, AFFINE), drawn_there=True)
    np.testing.assert_array_equal(exact.array[:, :, [2, 6]], painted)
    assert not np.delete(exact.array, [2, 6], axis=2).any()


def test_no_label_fits_everywhere() -> None:
    nothing = labels().with_array(np.zeros(SHAPE, np.uint8))
    exact = exact_labels(nothing, Grid(SHAPE, shifted(AFFINE, (0.4, 0.3, 50.0))))
    assert exact is not None and not exact.array.any()


def test_labels_that_end_with_their_grid_keep_volume_and_place() -> None:
    """A segmentation is cut to its labeled slices; beyond them lies nothing, not more of the same."""
    cut = Volume(np.full((6, 6, 3), 2, np.uint8), AFFINE)
    grid = Grid((24, 30, 20), shifted(AFFINE @ np.diag([0.7, 0.7, 0.7, 1.0]), (-8.3, -9.1, -7.4)))
    placed = placed_labels(cut, grid)
    volume = cut.array.size * cut.grid.voxel_volume
    assert (placed.array > 0).sum() * grid.voxel_volume == pytest.approx(volume, rel=0.02)
    middle = (AFFINE @ [2.5, 2.5, 1.0, 1.0])[:3]
    found = grid.affine[:3, :3] @ np.argwhere(placed.array).mean(axis=0) + grid.origin
    assert np.linalg.norm(found - middle) < 0.5 * grid.spacing.min()
