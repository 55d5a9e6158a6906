"""Series of real vendors (``dicom_hard``, ``knee_mese``): read, or refused with the right reason, one by one.

The table is what the headers say. Ground truth NIfTI files, made by another program from the same series, and
SimpleITK judge the geometry of those that read.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from acuity.dicom.reading.read import load_stack
from tests.dicom_reader import only_series, only_volume, sitk_series

# folder: code, words of the reason
TABLE = {
    "failing/gantrytilting/001": ("gantry-tilt", "14 degrees"),
    "failing/slicecount/001": ("too-few-slices", "Only 2 slices"),
    "failing/sliceincrement/001": ("missing-slice", "5 mm apart, but 10 mm between instance 9 and instance 10"),
    "failing/sliceincrement/002": ("missing-slice", "0.7497 mm apart, but 1.499 mm between instance 3 and instance 5"),
    "ge/anatomical/001": ("ok", "256 x 256 x 4 voxels, 1 x 1 x 1 mm"),
    "ge/anatomical/001_implicit": ("ok", "256 x 256 x 4 voxels, 1 x 1 x 1 mm"),
    "ge/anatomical/001_single_slice": ("too-few-slices", "Only 1 slice"),
    "generic/anatomical/001": ("ok", "256 x 256 x 4 voxels, 1 x 1 x 1 mm"),
    "generic/anatomical/001_implicit": ("ok", "256 x 256 x 4 voxels, 1 x 1 x 1 mm"),
    "generic/anatomical/002_non_isotropic": ("ok", "64 x 28 x 4 voxels, 6.4 x 4 x 0.5 mm"),
    "generic/compressed_jpegls/001": ("ok", "256 x 256 x 4 voxels, 1 x 1 x 1 mm"),
    "generic/compressed_rle/001": ("ok", "256 x 256 x 4 voxels, 1 x 1 x 1 mm"),
    "hyperfine/anatomical/001": ("ok", "112 x 138 x 8 voxels, 1.59 x 1.61 x 5 mm"),
    "philips_enhanced/anatomical/001": ("ok", "256 x 256 x 8 voxels, 1 x 1 x 1.2 mm"),
    "philips_enhanced/anatomical/001_implicit": ("ok", "256 x 256 x 8 voxels, 0.9375 x 0.9375 x 1 mm"),
}
READ = [folder for folder, (code, _) in TABLE.items() if code == "ok"]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def test_the_table_is_complete(shared_data: Path) -> None:
    root = shared_data / "dicom_hard"
    assert {path.parent.relative_to(root).as_posix() for path in root.rglob("*.dcm")} == set(TABLE)


@pytest.mark.parametrize("folder", TABLE)
def test_each_series_reads_or_is_refused_with_the_right_reason(shared_data: Path, folder: str) -> None:
    code, words = TABLE[folder]
    series = only_series(shared_data / "dicom_hard" / folder)
    assert (series.code, series.verdict) == (code, "ok" if code == "ok" else "refused")
    assert words in series.reason
    assert len(series.stacks) == (code == "ok")


@pytest.mark.parametrize("folder", READ)
def test_voxels_and_millimeters_agree_with_the_ground_truth(shared_data: Path, folder: str) -> None:
    """Every voxel of the NIfTI, at its place in patient space, has the value that was read there."""
    path = shared_data / "dicom_hard" / folder
    volume = only_volume(path)
    truth = nib.load(path.with_name(f"{path.name}_ground_truth.nii.gz"))
    values = np.squeeze(truth.get_fdata())
    assert sorted(values.shape) == sorted(volume.shape)
    indices = np.argwhere(np.ones(values.shape, dtype=bool))
    to_ours = np.linalg.inv(LPS_TO_RAS @ volume.affine) @ truth.affine
    places = indices @ to_ours[:3, :3].T + to_ours[:3, 3]
    nearest = np.round(places).astype(int)
    assert np.abs((places - nearest) * volume.spacing).max() < 0.02  # the NIfTI header is float32
    read = volume.array[tuple(nearest.T)].reshape(values.shape)
    np.testing.assert_allclose(read, values, atol=0.51 if np.issubdtype(truth.get_data_dtype(), np.integer) else 1e-2)


@pytest.mark.parametrize("folder", [folder for folder in READ if folder.startswith(("ge", "generic"))])
def test_classic_geometry_agrees_with_simpleitk(shared_data: Path, folder: str) -> None:
    path = shared_data / "dicom_hard" / folder
    volume, image = only_volume(path), sitk_series(path)
    assert image.GetSize() == volume.shape
    for corner in np.ndindex(2, 2, 2):
        index = [int(c * (n - 1)) for c, n in zip(corner, volume.shape, strict=True)]
        np.testing.assert_allclose(
            (volume.affine @ [*index, 1])[:3], image.TransformIndexToPhysicalPoint(index), atol=1e-3
        )
    np.testing.assert_allclose(volume.array.transpose(2, 1, 0), sitk.GetArrayFromImage(image), rtol=1e-6)


def test_the_knee_has_two_echoes(shared_data: Path) -> None:
    """Explicit VR Big Endian, oblique; 48 of the 192 images that it declares are there: two whole echoes of eight."""
    series = only_series(shared_data / "knee_mese")
    assert series.verdict == "ok"
    assert [stack.attributes for stack in series.stacks] == [{"EchoTime": 6.312}, {"EchoTime": 12.624}]
    first, second = (load_stack(stack) for stack in series.stacks)
    assert first.shape == second.shape == (256, 256, 24)
    assert first.grid.same_as(second.grid, tolerance=1e-6)
    np.testing.assert_allclose(first.spacing, [0.625, 0.625, 4.0], atol=1e-3)
    assert first.array.min() >= 0 and 8000 < first.array.max() < 20000
    assert second.array.mean() < first.array.mean()  # the later echo is weaker


def test_the_knee_places_its_slices_as_simpleitk_does(shared_data: Path) -> None:
    series = only_series(shared_data / "knee_mese")
    stack = series.stacks[0]
    volume = load_stack(stack)
    for k, ds in enumerate(stack.datasets):
        image = sitk.ReadImage(str(ds.filename))
        for index in ([0, 0], [255, 0], [0, 255], [255, 255]):
            theirs = image.TransformIndexToPhysicalPoint([*index, 0])
            np.testing.assert_allclose((volume.affine @ [*index, k, 1])[:3], theirs, atol=1e-3)
        np.testing.assert_array_equal(volume.array[:, :, k].T, sitk.GetArrayFromImage(image)[0])
