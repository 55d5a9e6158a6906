"""Rigid registration: it recovers a known motion, and refuses what cannot be one head."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from acuity.anatomy import Sequence
from acuity.errors import RegistrationError
from acuity.imaging.registration import align, needs_registration, register_rigid, rotation_angle
from acuity.imaging.resampling import resample
from acuity.research.synthetic.phantom import make_phantom
from acuity.volume import Grid, Volume


@pytest.fixture(scope="module")
def fixed() -> Volume:
    return make_phantom(spacing_mm=4.0).volumes[Sequence.T1C]


def center(grid: Grid) -> NDArray[np.float64]:
    return grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.origin


def motion(
    angles_deg: tuple[float, float, float], shift: tuple[float, float, float], about: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A rigid matrix, by SimpleITK."""
    euler = sitk.Euler3DTransform([float(x) for x in about], *np.radians(angles_deg).tolist(), shift)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(euler.GetMatrix(), (3, 3))
    matrix[:3, 3] = euler.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def thick_sagittal(fixed: Volume, image: Volume, true: NDArray[np.float64]) -> Volume:
    """``image`` moved by ``true`` and scanned in sagittal slices of 6 mm with pixels of 3 mm."""
    extent = fixed.spacing * fixed.shape
    grid = Grid(
        (int(extent[1] / 3), int(extent[2] / 3), int(extent[0] / 6)),
        np.array([[0.0, 0, 6, 0], [3, 0, 0, 0], [0, -3, 0, 0], [0, 0, 0, 1]]),
    )
    affine = grid.affine.copy()
    affine[:3, 3] = true[:3, :3] @ center(fixed.grid) + true[:3, 3] - center(grid)
    return replace(resample(image, Grid(grid.shape, affine), inverse(true)), frame_of_reference_uid=None)


@pytest.mark.parametrize(
    ("angles", "shift"), [((6.0, -4.0, 10.0), (9.0, -7.0, 5.0)), ((18.0, 5.0, -12.0), (60.0, -20.0, 35.0))]
)
def test_recovers_a_known_motion_of_another_contrast_in_thick_sagittal_slices(
    fixed: Volume, angles: tuple[float, float, float], shift: tuple[float, float, float]
) -> None:
    true = motion(angles, shift, center(fixed.grid))
    flair = make_phantom(spacing_mm=4.0).volumes[Sequence.FLAIR]
    result = register_rigid(thick_sagittal(fixed, flair, true), fixed)
    middle = np.append(center(fixed.grid), 1.0)
    assert np.linalg.norm((result.matrix - true) @ middle) < 1.0
    assert rotation_angle(result.matrix @ inverse(true)) < 1.0
    assert result.performed
    before, after = map(float, re.findall(r"\d\.\d\d", result.reason))
    assert after > before
    assert result.rotation_deg == pytest.approx(rotation_angle(true), abs=1.0)


def test_it_starts_from_the_scanner_s_coordinates_where_these_are_best(fixed: Volume) -> None:
    """A slab of the same head: the centers of its field of view and of its mass lie elsewhere."""
    slab = replace(fixed, array=fixed.array[:, :, : fixed.shape[2] // 2], frame_of_reference_uid=None)
    result = register_rigid(slab, fixed)
    before, after = map(float, re.findall(r"\d\.\d\d", result.reason))
    assert after - before < 0.05
    assert result.rotation_deg < 1.0 and result.translation_mm < 1.0


def test_the_same_input_gives_the_same_result() -> None:
    tiny = make_phantom(spacing_mm=8.0).volumes[Sequence.T1]
    moving = replace(tiny, affine=motion((3.0, 0.0, 0.0), (2.0, 0.0, 0.0), center(tiny.grid)) @ tiny.affine)
    first, second = register_rigid(moving, tiny), register_rigid(moving, tiny)
    np.testing.assert_allclose(first.matrix, second.matrix, rtol=0.0, atol=1e-9)


def test_refuses_images_that_are_not_one_head(fixed: Volume) -> None:
    noise = np.random.default_rng(0).random(fixed.shape).astype(np.float32)
    turned = motion((50.0, 0.0, 0.0), (0.0, 0.0, 0.0), center(fixed.grid))
    for image, message in (
        (fixed.with_array(noise), "share .* nats .* must show one head"),
        (resample(fixed, fixed.grid, inverse(turned)), "turns the head by 50 degrees; the limit is 45"),
        (fixed.with_array(np.full_like(noise, 7.0)), "must show one head"),
    ):
        with pytest.raises(RegistrationError, match=message):
            register_rigid(image, fixed)


def test_one_frame_of_reference_and_one_place_need_no_registration(fixed: Volume) -> None:
    moving = replace(fixed, array=fixed.array[:, :, 2:], affine=fixed.affine @ _shift(2))
    result = align(moving, fixed)
    assert not result.performed
    np.testing.assert_array_equal(result.matrix, np.eye(4))
    assert "share one frame of reference" in result.reason


@pytest.mark.parametrize("frames", [(None, "1.2"), ("", ""), ("1.2.3", "1.2"), (None, None)])
def test_missing_or_different_frames_need_registration(fixed: Volume, frames: tuple[str | None, str | None]) -> None:
    moving, still = (replace(fixed, frame_of_reference_uid=frame) for frame in frames)
    assert needs_registration(moving, still)


def test_places_need_registration_where_one_does_not_hold_the_center_of_the_other(fixed: Volume) -> None:
    """The center lies at (n - 1) / 2; a field of view ends half a voxel beyond its last centers."""
    slices = fixed.shape[2]
    for shift, needed in ((slices // 2 - 1, False), (slices // 2 + 1, True), (-slices // 2 + 1, False), (200, True)):
        moved = replace(fixed, affine=fixed.affine @ _shift(shift))
        assert needs_registration(moved, fixed) is needs_registration(fixed, moved) is needed
    small = replace(fixed, array=fixed.array[:, :, :4])  # lies inside, but not at the center
    assert needs_registration(small, fixed) and needs_registration(fixed, small)


def _shift(slices: int) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[2, 3] = slices
    return matrix
