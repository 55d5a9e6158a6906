"""Which format a folder of images holds, and its volumes."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset

from acuity.errors import DataError, NoDicomError
from acuity.research.datasets.folders import ImageFormat, image_format, read_dicom, read_nifti
from tests.dicom_builder import Edit, axial_affine, uid, write_mr_series


def add_nifti(path: Path, shape: tuple[int, ...] = (4, 5, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), np.diag([-2.0, -1.0, 4.0, 1.0])), path)


def add_dicom(folder: Path, edit: Edit | None = None) -> None:
    """A study of its own for each folder."""
    array = np.arange(5 * 4 * 3, dtype=np.uint16).reshape(5, 4, 3)
    write_mr_series(folder, array, axial_affine((0.5, 0.7, 3.0)), study_uid=uid(folder.name), edit=edit)


def make_ct(ds: Dataset, _: int) -> None:
    ds.Modality = "CT"


ADD = {
    ImageFormat.BRATS: lambda folder: add_nifti(folder / "CASE_1" / "CASE_1_t1.nii.gz"),
    ImageFormat.NIFTI: lambda folder: add_nifti(folder / "sub-1" / "anat.nii.gz"),
    ImageFormat.FASTMRI: lambda folder: h5py.File(folder / "file1.h5", "w").close(),
    ImageFormat.DICOM: lambda folder: add_dicom(folder / "study"),
}


@pytest.mark.parametrize("kind", ImageFormat)
def test_each_format_is_told(tmp_path, kind):
    ADD[kind](tmp_path)
    (tmp_path / "notes.txt").write_text("of no matter")
    assert image_format(tmp_path) is kind


@pytest.mark.parametrize(("first", "second"), list(combinations(ImageFormat, 2)))
def test_several_formats_are_refused_by_name(tmp_path, first, second):
    ADD[first](tmp_path)
    ADD[second](tmp_path)
    with pytest.raises(DataError, match="A folder of images has one format") as error:
        image_format(tmp_path)
    assert first in str(error.value) and second in str(error.value)


def test_nothing_to_read_is_said(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        image_format(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        image_format(tmp_path / "nowhere")
    with pytest.raises(NoDicomError):
        list(read_dicom(tmp_path))


def test_nifti_is_named_by_its_path_and_lies_in_lps(tmp_path):
    add_nifti(tmp_path / "sub-1" / "anat.nii.gz")
    add_nifti(tmp_path / "b.nii")
    first, second = read_nifti(tmp_path)
    assert [first.case, second.case] == ["b", "sub-1/anat"]
    np.testing.assert_allclose(first.volume.affine, np.diag([2.0, 1.0, 4.0, 1.0]))


def test_a_damaged_or_four_dimensional_nifti_is_refused(tmp_path):
    add_nifti(tmp_path / "a.nii.gz", (4, 5, 3, 2))
    with pytest.raises(DataError, match="a cannot be read as a NIfTI image of three axes"):
        list(read_nifti(tmp_path))
    (tmp_path / "a.nii.gz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="a cannot be read"):
        list(read_nifti(tmp_path))


def test_several_studies_lie_in_folders_of_their_own(tmp_path):
    for name in ("one", "two"):
        add_dicom(tmp_path / name)
    (tmp_path / "papers").mkdir()
    named = list(read_dicom(tmp_path))
    assert [n.case for n in named] == ["one", "two"]
    np.testing.assert_array_equal(named[0].volume.array, np.arange(60).reshape(5, 4, 3))
    np.testing.assert_allclose(named[0].volume.spacing, [0.5, 0.7, 3.0])


def test_a_study_whose_series_are_all_refused_is_an_error(tmp_path, caplog):
    add_dicom(tmp_path / "study", make_ct)
    with pytest.raises(DataError, match="holds no MR volume"):
        list(read_dicom(tmp_path))
    assert "a series is left out" in caplog.text


def test_the_echoes_of_a_real_series_are_told_apart(shared_data):
    folder = shared_data / "knee_mese"
    if not folder.is_dir():
        pytest.skip(f"{folder.name} is not on this machine")
    assert image_format(folder) is ImageFormat.DICOM
    first, second = read_dicom(folder)
    assert (first.case, first.sequence) == ("knee_mese", "series 8, EchoTime 6.312")
    assert second.sequence == "series 8, EchoTime 12.624"
    assert first.volume.array.mean() > second.volume.array.mean()  # T2 decay
