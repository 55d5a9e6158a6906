"""Resampling: a voxel's place in millimeters is what counts."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from acuity.imaging.resampling import Interpolation, resample
from acuity.volume import Grid, Volume
from tests.dicom_builder import oblique_affine


def blob(grid: Grid, middle: NDArray[np.float64], width: NDArray[np.float64]) -> Volume:
    """An asymmetric Gaussian blob round ``middle``, mm."""
    index = np.indices(grid.shape).reshape(3, -1)
    offsets = grid.affine[:3, :3] @ index + grid.origin[:, None] - middle[:, None]
    values = np.exp(-0.5 * ((offsets / width[:, None]) ** 2).sum(axis=0)).reshape(grid.shape)
    return Volume(values.astype(np.float32), grid.affine)


def centroid(volume: Volume) -> NDArray[np.float64]:
    return volume.affine[:3, :3] @ np.array(ndimage.center_of_mass(volume.array)) + volume.grid.origin


SOURCE = Grid((40, 30, 20), oblique_affine((1.0, 1.5, 2.5)))
MIDDLE = SOURCE.affine[:3, :3] @ np.array([18.0, 13.0, 9.0]) + SOURCE.origin
WIDTH = np.array([4.0, 5.0, 6.0])


def axial_round(middle: NDArray[np.float64], spacing: tuple[float, float, float]) -> Grid:
    shape = tuple(int(n) for n in np.ceil(56.0 / np.array(spacing)))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = middle - np.array(spacing) * (np.array(shape) - 1) / 2 + 0.3
    return Grid((shape[0], shape[1], shape[2]), affine)


@pytest.mark.parametrize("interpolation", ["linear", "bspline"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 2.0, 4.0)])
def test_a_blob_stays_where_it_is(interpolation: Interpolation, spacing: tuple[float, float, float]) -> None:
    result = resample(blob(SOURCE, MIDDLE, WIDTH), axial_round(MIDDLE, spacing), interpolation=interpolation)
    np.testing.assert_allclose(centroid(result), MIDDLE, atol=0.1)
    assert result.array.dtype == np.float32


def test_a_matrix_takes_points_of_the_grid_to_points_of_the_volume() -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    matrix[:3, 3] = (5.0, -3.0, 8.0)
    place = np.linalg.solve(matrix, np.append(MIDDLE, 1.0))[:3]
    result = resample(blob(SOURCE, MIDDLE, WIDTH), axial_round(place, (1.0, 1.0, 1.0)), matrix)
    np.testing.assert_allclose(centroid(result), place, atol=0.1)


def test_agrees_with_simpleitk_on_a_finer_grid_and_with_itself_on_its_own() -> None:
    volume, grid = blob(SOURCE, MIDDLE, WIDTH), axial_round(MIDDLE, (0.9, 0.9, 0.9))
    reference = sitk.Image(grid.shape, sitk.sitkFloat32)
    reference.SetOrigin(grid.origin.tolist())
    reference.SetSpacing(grid.spacing.tolist())
    expected = sitk.GetArrayFromImage(sitk.Resample(volume.to_sitk(), reference)).transpose(2, 1, 0)
    np.testing.assert_allclose(resample(volume, grid).array, expected, atol=1e-6)
    np.testing.assert_allclose(resample(volume, SOURCE).array, volume.array, atol=1e-6)


def test_outside_the_field_of_view_is_zero() -> None:
    ones = Volume(np.ones((6, 6, 6), dtype=np.float32), np.eye(4))
    shifted = np.eye(4)
    shifted[:3, 3] = (3.0, 0.0, 0.0)
    result = resample(ones, Grid((6, 6, 6), shifted)).array
    assert (result[:3] == 1.0).all()
    assert (result[3:] == 0.0).all()


def test_a_coarser_grid_does_not_alias() -> None:
    # Stripes at the finest frequency are gray on a grid four times as coarse, not stripes.
    stripes = np.tile(np.array([0.0, 1.0], dtype=np.float32), 24)[:, None, None] * np.ones((48, 8, 8), dtype=np.float32)
    volume = Volume(stripes, np.eye(4))
    result = resample(volume, volume.grid.with_spacing((4.0, 1.0, 1.0))).array
    np.testing.assert_allclose(result[1:-1], 0.5, atol=0.02)


def test_labels_keep_their_values() -> None:
    labels = np.zeros((8, 8, 8), dtype=np.uint8)
    labels[2:5, 3:6, 1:7] = 4
    labels[5:7, 3:6, 1:7] = 1
    labels_volume = Volume(labels, np.eye(4))
    fine = labels_volume.grid.with_spacing((0.7, 0.7, 0.7))
    result = resample(labels_volume, fine, interpolation="nearest").array
    assert result.dtype == np.uint8
    assert set(np.unique(result)) == {0, 1, 4}
    with pytest.raises(ValueError, match="holds labels"):
        resample(labels_volume, fine)
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        resample(labels_volume, SOURCE, np.eye(3), interpolation="nearest")
