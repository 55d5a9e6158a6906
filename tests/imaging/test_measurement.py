"""Volumes and diameters against bodies whose size is known, and against SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.distance import pdist

from acuity.anatomy import Region
from acuity.imaging.measurement import RegionMeasurement, measure_regions
from acuity.volume import Volume
from tests.dicom_builder import axial_affine, oblique_affine


def measured(array: np.ndarray, affine: np.ndarray) -> dict[Region, RegionMeasurement]:
    return {m.region: m for m in measure_regions(Volume(array.astype(np.uint8), affine))}


def ball(affine: np.ndarray, shape: tuple[int, int, int], center: tuple[float, ...], radius: float) -> np.ndarray:
    index = np.moveaxis(np.indices(shape), 0, -1)
    middle = np.asarray(center) @ affine[:3, :3].T
    return np.linalg.norm(index @ affine[:3, :3].T - middle, axis=-1) <= radius


@pytest.mark.parametrize("size", [0.5, 1.0])
def test_a_single_voxel_measures_one_voxel(size: float) -> None:
    array = np.zeros((5, 5, 5))
    array[2, 2, 2] = 4
    et = measured(array, axial_affine((size, size, size)))[Region.ET]
    assert et.volume_ml == pytest.approx(size**3 / 1000)
    assert (et.longest_diameter_mm, et.long_axis_mm, et.short_axis_mm) == pytest.approx((size, size, size))


def test_a_rod_along_the_slices_is_long_in_3d_and_short_in_plane() -> None:
    array = np.zeros((6, 6, 9))
    array[2, 3, 1:8] = 4
    et = measured(array, axial_affine((0.5, 2.0, 3.0)))[Region.ET]
    assert et.longest_diameter_mm == pytest.approx(7 * 3)
    assert (et.long_axis_mm, et.short_axis_mm) == pytest.approx((2.0, 0.5))
    assert et.volume_ml == pytest.approx(7 * 0.5 * 2 * 3 / 1000)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.3, 2.5)])
def test_a_ball_on_an_oblique_anisotropic_grid(spacing: tuple[float, ...]) -> None:
    affine = oblique_affine(spacing)
    array = 4 * ball(affine, (40, 32, 30), (18.3, 15.6, 14.2), radius=9.0)
    et = measured(array, affine)[Region.ET]
    assert et.volume_ml == pytest.approx(4 / 3 * np.pi * 0.9**3, rel=0.03)
    assert et.longest_diameter_mm == pytest.approx(18.0, abs=max(spacing))
    assert et.long_axis_mm == pytest.approx(18.0, abs=max(spacing))
    assert et.short_axis_mm == pytest.approx(18.0, abs=max(spacing))


def test_the_3d_diameter_bounds_simpleitks_by_less_than_a_voxel() -> None:
    affine = oblique_affine((0.8, 1.3, 2.5))
    array = 4 * ball(affine, (30, 24, 20), (12.0, 11.0, 9.0), radius=7.0)
    array[10:16, 10:12, 9:14] = 4
    volume = Volume(array.astype(np.uint8), affine)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputeFeretDiameterOn()
    statistics.Execute(volume.to_sitk())
    feret = statistics.GetFeretDiameter(4)  # between voxel centers
    et = measure_regions(volume)[0]
    assert et.longest_diameter_mm is not None and et.volume_ml is not None
    assert feret < et.longest_diameter_mm < feret + 2.5
    assert et.volume_ml * 1000 == pytest.approx(statistics.GetPhysicalSize(4))


def test_the_hull_finds_what_comparing_all_points_finds() -> None:
    rng = np.random.default_rng(3)
    array = np.zeros((14, 12, 10))
    array[2:12, 2:10, 2:8] = 4 * (rng.random((10, 8, 6)) < 0.8)
    affine = oblique_affine()
    et = measured(array, affine)[Region.ET]
    faces = [
        (voxel + sign * 0.5 * np.eye(3)[axis]) @ affine[:3, :3].T
        for voxel in np.argwhere(array == 4)
        for axis in range(3)
        for sign in (-1, 1)
    ]
    assert et.components == 1
    assert et.longest_diameter_mm == pytest.approx(pdist(faces).max())


def test_regions_are_unions_of_labels() -> None:
    array = np.zeros((10, 8, 6))
    array[1:9, 2, 2], array[2:6, 2, 2], array[3:5, 2, 2] = 2, 1, 4
    found = measured(array, axial_affine((1.0, 1.0, 1.0)))
    assert [found[r].longest_diameter_mm for r in Region] == pytest.approx([2, 4, 8])
    assert [found[r].volume_ml for r in Region] == pytest.approx([0.002, 0.004, 0.008])


@pytest.mark.parametrize("stray", [(0, 0, 0), (19, 7, 5)])
def test_a_stray_voxel_counts_in_the_volume_but_not_in_the_diameter(stray: tuple[int, int, int]) -> None:
    array = np.zeros((20, 8, 6))
    array[2:6, 2, 2] = 4
    array[stray] = 4
    et = measured(array, axial_affine((1.0, 1.0, 1.0)))[Region.ET]
    assert (et.components, et.volume_ml, et.longest_diameter_mm) == pytest.approx((2, 0.005, 4.0))


def test_an_empty_region_has_no_diameter() -> None:
    et = measured(np.zeros((4, 4, 4)), axial_affine())[Region.ET]
    assert (et.volume_ml, et.longest_diameter_mm, et.long_axis_mm, et.components) == (0.0, None, None, 0)
