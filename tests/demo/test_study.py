"""The demo's study: DICOM that lies where the truth lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from acuity.anatomy import Sequence
from acuity.demo.study import write_demo_study


def read_series(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def center(image: sitk.Image, minimum: float) -> np.ndarray:
    """Center in mm, LPS, of what is brighter than ``minimum`` times the maximum."""
    array = sitk.GetArrayFromImage(image).astype(float)
    where = np.argwhere(array > minimum * array.max())[:, ::-1].mean(axis=0)
    return np.array(image.TransformContinuousIndexToPhysicalPoint(where.tolist()))


@pytest.mark.parametrize("spacing", [(8.0, 8.0, 8.0), (4.0, 4.0, 12.0)])
def test_four_series_lie_where_the_truth_lies(tmp_path: Path, spacing: tuple[float, float, float]) -> None:
    study, truth = tmp_path / "study", tmp_path / "truth"
    phantom = write_demo_study(study, seed=1, spacing=spacing, truth_folder=truth, phantom_spacing_mm=4.0)
    folders = sorted(study.iterdir())
    assert len(folders) == 4
    brain_truth = center(sitk.ReadImage(str(truth / "t1.nii.gz")), 0.05)
    for folder in folders:
        image = read_series(folder)
        np.testing.assert_allclose(image.GetSpacing(), spacing)
        # SimpleITK turns a NIfTI's RAS to LPS itself: an independent judge of both affines.
        assert np.abs(center(image, 0.05) - brain_truth).max() < 2.5
    labels = sitk.ReadImage(str(truth / "seg.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels).transpose(2, 1, 0), phantom.labels.array)


def test_the_enhancing_rim_is_bright_at_its_place_in_the_t1c_series(tmp_path: Path) -> None:
    phantom = write_demo_study(tmp_path / "study", seed=1, spacing=(4.0, 4.0, 4.0), phantom_spacing_mm=4.0)
    image = read_series(next((tmp_path / "study").glob("*T1c")))
    array = sitk.GetArrayFromImage(image)
    rim = np.argwhere(phantom.labels.array == 4) @ phantom.labels.affine[:3, :3].T + phantom.labels.grid.origin
    values = [array[image.TransformPhysicalPointToIndex(point.tolist())[::-1]] for point in rim]
    assert np.median(values) > np.percentile(array[array > 0], 90)


def test_headers_name_one_made_up_patient_and_frame(tmp_path: Path) -> None:
    write_demo_study(tmp_path, spacing=(8.0, 8.0, 8.0), phantom_spacing_mm=8.0)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in tmp_path.rglob("*.dcm")]
    assert {str(ds.PatientName) for ds in headers} == {"PHANTOM^DEMO"}
    assert len({ds.FrameOfReferenceUID for ds in headers}) == 1
    assert len({ds.StudyInstanceUID for ds in headers}) == 1
    assert len({ds.SeriesInstanceUID for ds in headers}) == len(Sequence)
    assert {ds.SeriesDescription for ds in headers if "ContrastBolusAgent" in ds} == {"AX T1 POST"}


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_demo_study(tmp_path / name, seed=5, spacing=(8.0, 8.0, 8.0), phantom_spacing_mm=8.0)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.dcm"))
    assert files
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_the_truth_stays_out_of_the_study(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside the study"):
        write_demo_study(tmp_path / "study", truth_folder=tmp_path / "study" / "truth", phantom_spacing_mm=8.0)
    assert not (tmp_path / "study").exists()
