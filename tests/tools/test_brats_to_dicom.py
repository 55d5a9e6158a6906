"""The script that writes a BraTS case as DICOM: its millimeters are the NIfTI's, by SimpleITK."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from tools.brats_to_dicom import main

SUFFIXES = ("t1", "t1ce", "t2", "flair")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A made-up case with BraTS's affine (voxels along left and back) and one bright, asymmetric block."""
    folder = tmp_path / "CASE_1"
    folder.mkdir()
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[1, 3] = 239.0
    array = np.zeros((40, 36, 21), dtype=np.int16)
    array[6:34, 4:30, 2:19] = 100
    array[24:30, 8:12, 12:16] = 900
    for number, suffix in enumerate(SUFFIXES):
        nib.save(nib.Nifti1Image(array + np.int16(number) * (array > 0), affine), folder / f"CASE_1_{suffix}.nii.gz")
    return folder


def center(image: sitk.Image, low: float, high: float) -> np.ndarray:
    array = sitk.GetArrayFromImage(image).astype(float)
    array /= array.max()
    where = np.argwhere((array > low) & (array <= high))[:, ::-1].mean(axis=0)
    return np.array(image.TransformContinuousIndexToPhysicalPoint(where.tolist()))


@pytest.mark.parametrize(("options", "spacing"), [([], (2, 2, 2)), (["--spacing", "1", "1", "3"], (1, 1, 3))])
def test_millimeters_agree_with_the_nifti(
    case: Path, tmp_path: Path, options: list[str], spacing: tuple[int, int, int]
) -> None:
    assert main([str(case), str(tmp_path / "out"), *options]) == 0
    folders = sorted((tmp_path / "out").iterdir())
    assert [folder.name for folder in folders] == ["02_T1", "03_T2", "04_FLAIR", "05_T1c"]
    truth = sitk.ReadImage(str(case / "CASE_1_t1.nii.gz"))
    for folder in folders:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
        assert image.GetSpacing() == pytest.approx(spacing)
        np.testing.assert_allclose(center(image, 0.5, 1.0), center(truth, 0.5, 1.0), atol=0.51)


def test_an_incomplete_case_ends_with_the_data_error(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (case / "CASE_1_t2.nii.gz").unlink()
    assert main([str(case), str(tmp_path / "out")]) == 70
    assert "CASE_1 has no T2." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("options", "message"), [([], "is not an empty folder"), (["--spacing", "0.5"], "below the")])
def test_a_wrong_command_line_is_refused(
    case: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as refusal:
        main([str(case), str(case), *options])
    assert refusal.value.code == 2
    assert message in capsys.readouterr().err
