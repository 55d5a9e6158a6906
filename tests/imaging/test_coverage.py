"""How much of a brain an image shows, on oblique grids, against the geometry itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from acuity.imaging.brain import stripped_mask
from acuity.imaging.coverage import beyond_faces, part_inside, share, shown, slices_shown
from acuity.imaging.resampling import mask_on_grid
from acuity.research.datasets.brats import read_image
from acuity.volume import Grid, Volume
from tests.dicom_builder import oblique_affine

SEMIAXES = np.array([60.0, 75.0, 55.0])
angles = st.tuples(*[st.floats(-90, 90)] * 3)


def grid(angles: tuple[float, float, float], spacing: tuple[float, float, float] = (4.0, 4.0, 5.0)) -> Grid:
    """A field of view of 180 mm about the origin."""
    i, j, k = (round(180 / s) for s in spacing)
    shape = (i, j, k)
    affine = oblique_affine(spacing, angles, (0.0, 0.0, 0.0))
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def points(grid: Grid) -> NDArray[np.float64]:
    return np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T + grid.origin


def brain(grid: Grid) -> Volume:
    inside = np.sum((points(grid) / SEMIAXES) ** 2, axis=-1) < 1
    return Volume(inside.astype(np.uint8), grid.affine)


def picture(grid: Grid, air: float = 0.0) -> Volume:
    """A brain of noise in the air of a stripped image, or in a scanner's."""
    rng = np.random.default_rng(0)
    mask = brain(grid).array > 0
    array = np.where(mask, rng.normal(500, 50, grid.shape), np.abs(rng.normal(0, air, grid.shape)) if air else 0.0)
    array[mask & (np.sum((points(grid) / 12) ** 2, axis=-1) < 1)] = 0  # cerebrospinal fluid
    return Volume(array.astype(np.float32), grid.affine)


@settings(max_examples=25, deadline=None)
@given(angles, angles, st.floats(0.2, 1.0), st.integers(0, 2), st.booleans())
def test_the_share_is_that_of_the_geometry(
    turned: tuple[float, float, float],
    reference: tuple[float, float, float],
    part: float,
    axis: int,
    low_end: bool,
) -> None:
    """A field of view cut at either end of any of its axes, seen from a grid of another orientation."""
    whole, target = grid(turned), brain(grid(reference))
    count = max(2, round(part * whole.shape[axis]))
    start = 0 if low_end else whole.shape[axis] - count
    affine = whole.affine.copy()
    affine[:3, 3] += start * affine[:3, axis]
    shape = list(whole.shape)
    shape[axis] = count
    cut = Volume(np.ones(shape, np.float32), affine)
    mask = mask_on_grid(shown(cut, cut.with_array(np.zeros(shape, np.uint8))), target.grid)
    index = np.linalg.solve(whole.affine[:3, :3], (points(target.grid) - whole.origin).reshape(-1, 3).T)[axis]
    true = ((index >= start - 0.5) & (index <= start + count - 0.5)).reshape(target.shape)[target.array > 0].mean()
    assert share(mask, target) == pytest.approx(true, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(angles, st.floats(-0.6, 0.6), st.sampled_from([0.0, 10.0]))
def test_what_was_filled_in_is_not_shown(normal: tuple[float, float, float], height: float, air: float) -> None:
    """Black beyond an oblique plane, in a stripped image and in one with a scanner's air; the ventricle stays."""
    image = picture(grid((10.0, -8.0, 12.0)), air)
    mask = brain(image.grid)
    direction = oblique_affine((1, 1, 1), normal)[:3, 2]
    black = points(image.grid) @ direction > height * SEMIAXES.min()
    found = shown(image.with_array(np.where(black, np.float32(0), image.array)), mask)
    assert share(found, mask) == pytest.approx(1 - black[mask.array > 0].mean(), abs=0.04)
    assert share(shown(image, mask), mask) == 1


def test_a_rim_that_another_stripping_left_out_is_shown() -> None:
    image = picture(grid((0, 0, 0), (2.0, 2.0, 2.0)))
    inner = np.sum((points(image.grid) / (SEMIAXES - 4)) ** 2, axis=-1) < 1
    assert share(shown(image.with_array(image.array * inner), brain(image.grid)), brain(image.grid)) == 1


@pytest.mark.parametrize("name", ["Brats18_CBICA_AQP_1", "BraTS2021_00006", "Brats18_TCIA10_628_1"])
def test_real_stripped_cases_are_whole(name: str) -> None:
    folder = Path(__file__).parents[3] / "shared" / "data" / "brats" / name
    if not folder.is_dir():
        pytest.skip("the real cases are not on this machine")
    mask = stripped_mask(read_image(folder / f"{name}_t1ce.nii.gz"))
    for sequence in ("t1", "t2", "flair"):
        image = read_image(folder / f"{name}_{sequence}.nii.gz")
        assert share(shown(image, mask), mask) == 1


def test_a_cut_brain_goes_on_where_another_field_of_view_reaches() -> None:
    whole = grid((5.0, 5.0, 5.0))
    top = Grid((*whole.shape[:2], 20), whole.affine)
    beyond = beyond_faces(brain(top))
    assert len(beyond) and not len(beyond_faces(brain(whole)))
    assert part_inside(beyond, whole, np.eye(4)) == 1 and part_inside(beyond, top, np.eye(4)) == 0
    assert part_inside(np.empty((0, 3)), whole, np.eye(4)) == 0


def test_slices_are_kept_from_the_first_to_the_last_that_is_shown() -> None:
    mask = brain(grid((0, 0, 0)))
    lower = mask.with_array(np.zeros(mask.shape, np.uint8))
    lower.array[:, :, :14] = 1
    assert slices_shown(lower, mask) == slice(0, 14)
    lower.array[:, :, -2:] = 1  # air beyond the brain that is not shown
    assert slices_shown(lower, mask) == slice(0, 14)
    with pytest.raises(ValueError, match="no slice of the brain"):
        slices_shown(mask.with_array(np.zeros(mask.shape, np.uint8)), mask)
