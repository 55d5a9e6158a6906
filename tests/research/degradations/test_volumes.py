"""Low resolution of volumes: what it holds, and where it lies."""

from __future__ import annotations

from dataclasses import asdict

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from acuity.errors import DataError
from acuity.imaging.point_spread import PointSpread
from acuity.research.degradations.volumes import (
    Halved,
    Shrinking,
    ThickSlices,
    averaged_slices,
    axial_axis,
    cropped_to_multiple,
    interpolated,
    low_resolution,
)
from acuity.volume import RAS_LPS, Grid, Volume

# Slices along j; j and k are not along the patient's axes.
OBLIQUE = np.array([[0.8, 0, 0, 4], [0, 0.36, 0.96, -3], [0, 1.1, -0.3, 6], [0, 0, 0, 1]])


def smooth(shape: tuple[int, int, int] = (24, 30, 19), affine: NDArray = OBLIQUE) -> Volume:
    array = ndimage.gaussian_filter(np.random.default_rng(0).random(shape), 2.5).astype(np.float32)
    return Volume(array, affine)


def sampled(volume: Volume, grid_of: Volume) -> NDArray:
    """SimpleITK, which knows only the affine, finds the volume's values at another's voxels."""
    image = sitk.Resample(volume.to_sitk(), grid_of.to_sitk(), sitk.Transform(), sitk.sitkBSpline)
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0)


@pytest.mark.parametrize(
    ("factors", "shape"), [((2, 2, 2), (12, 15, 10)), ((4, 1, 1), (6, 30, 19)), ((1, 1, 2), (24, 30, 10))]
)
def test_low_resolution_lies_where_the_original_does(factors, shape):
    # Orthogonal axes: SimpleITK takes no others.
    volume = smooth(affine=np.array([[0.8, 0, 0, 4], [0, 0, 1.2, -3], [0, -0.9, 0, 6], [0, 0, 0, 1]]))
    low = low_resolution(volume, factors)
    assert low.shape == shape
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(low.array[inner], sampled(volume, low)[inner], atol=0.02)


@pytest.mark.parametrize("factors", [(2.0, 2.0, 2.0), (1.0, 2.0, 1.0)])
def test_interpolation_comes_back_to_the_grid(factors):
    volume = smooth()
    back = interpolated(volume, low_resolution(volume, factors))
    assert back.shape == volume.shape
    np.testing.assert_allclose(back[4:-4, 4:-4, 4:-4], volume.array[4:-4, 4:-4, 4:-4], atol=0.02)


@pytest.mark.parametrize(("count", "axis"), [(3, 0), (5, 1), (2, 0)])
def test_thick_slices_are_the_mean_of_thin_ones(count, axis):
    """SciPy's moving average, read at every count-th place, is the judge; so is a point's place in mm."""
    volume = smooth()
    thick = averaged_slices(volume, count, axis)
    # origin 0 centers an odd window; of an even one it puts the center right of the middle.
    moving = ndimage.uniform_filter1d(volume.array.astype(np.float64), count, axis=axis)
    expected = np.take(moving, range(count // 2, volume.shape[axis], count), axis=axis)
    np.testing.assert_allclose(thick.array, expected, rtol=1e-5)
    assert thick.array.dtype == np.float32

    point = np.zeros((24, 30, 19), np.float32)
    point[count : 2 * count, 10:15, 7] = 1  # fills slices of 3 and 2 along i, of 5 along j
    signal = Volume(point, OBLIQUE)
    low = averaged_slices(signal, count, axis)
    before, after = (v.affine @ [*ndimage.center_of_mass(v.array), 1] for v in (signal, low))
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert low.array.sum() * count == pytest.approx(point.sum())


@pytest.mark.parametrize(("count", "first", "size"), [(3, 0, 18), (4, 1, 16), (5, 2, 15), (19, 0, 19)])
def test_the_middle_of_whole_slices_is_kept(count, first, size):
    volume = smooth()
    part = cropped_to_multiple(volume, count, 2)
    np.testing.assert_array_equal(part.array, volume.array[:, :, first : first + size])
    np.testing.assert_allclose(part.affine @ [5, 6, 7, 1], volume.affine @ [5, 6, 7 + first, 1])


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SAL", "PIR", "ASL"])
def test_axial_slices_are_found_by_the_affine(codes):
    """nibabel names the axes' directions."""
    start = nib.orientations.axcodes2ornt("RAS")
    turned = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(codes))
    affine = np.diag([1.0, 1.0, 1.0, 1.0]) @ nib.orientations.inv_ornt_aff(turned, (8, 9, 10))
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    grid = Grid((8, 9, 10), RAS_LPS @ tilt @ affine)
    assert nib.aff2axcodes(RAS_LPS @ grid.affine) == tuple(codes)
    assert axial_axis(grid) == next(n for n, code in enumerate(codes) if code in "SI")


def test_degradations_act_on_the_axial_plane():
    volume = smooth(affine=np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [-1.0, 0, 0, 0], [0, 0, 0, 1]]))
    assert axial_axis(volume.grid) == 0
    assert Shrinking(2, 1)(volume).shape == (24, 15, 10)
    assert Shrinking(1, 2)(volume).shape == (12, 30, 19)
    assert Shrinking(4, 4)(volume).shape == (6, 8, 5)
    five = ThickSlices(5.0)
    truth = five.covered(volume)
    assert truth.shape == (20, 30, 19)
    thick = five(truth)
    assert thick.shape == (4, 30, 19)
    np.testing.assert_allclose(thick.spacing, [5, 1, 1])
    # It covers exactly what was averaged: outer faces coincide at both ends.
    for low_index, index in ((-0.5, -0.5), (3.5, 19.5)):
        np.testing.assert_allclose(thick.affine @ [low_index, 3, 4, 1], truth.affine @ [index, 3, 4, 1])
    assert truth.grid.same_as(thick.grid.with_spacing((1.0, 1.0, 1.0)))


def test_other_blurs_halve_the_resolution_and_keep_the_outer_faces():
    volume = Volume(np.random.default_rng(0).random((13, 10, 9)).astype(np.float32), np.diag([1.0, 1.0, 1.0, 1.0]))
    halved = Halved(PointSpread("box"))
    truth = halved.covered(volume)
    low = halved(truth)
    assert (truth.shape, low.shape) == ((12, 10, 8), (6, 5, 4))
    np.testing.assert_allclose(low.array, truth.array.reshape(6, 2, 5, 2, 4, 2).mean(axis=(1, 3, 5)), atol=1e-6)
    assert truth.grid.same_as(low.grid.with_spacing((1.0, 1.0, 1.0)))
    assert np.abs(Halved(PointSpread("hann"))(truth).array - low.array).max() > 0.05


def test_a_degradation_knows_its_slice_profile():
    """The fingerprint of what was measured on thick slices holds it, so that results of another are not kept."""
    assert (Shrinking(2, 2).slice_profile, ThickSlices(5.0).slice_profile) == ("cubic", "box")
    assert asdict(ThickSlices(5.0)) == {"thickness": 5.0, "slice_profile": "box"}


@pytest.mark.parametrize(
    ("thickness", "spacing", "message"),
    [(3.0, 2.0, "8 slices of 2 mm make no slice of 3 mm"), (3.0, 3.0, "8 slices of 3 mm"), (9.0, 1.0, "slice of 9 mm")],
)
def test_slices_that_do_not_fit_are_refused(thickness, spacing, message):
    volume = Volume(np.ones((4, 4, 8), np.float32), np.diag([1.0, 1.0, spacing, 1.0]))
    with pytest.raises(DataError, match=message):
        ThickSlices(thickness).covered(volume)
    with pytest.raises(ValueError, match="8 slices along axis 2 are no multiple of 3"):
        averaged_slices(volume, 3, 2)
