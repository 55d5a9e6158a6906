"""Files and places as exports make them: renamed, linked, rounded, with images for reference among the slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement

from acuity.dicom.reading.read import load_stack, read_study
from acuity.errors import AcuityError
from tests.dicom_builder import (
    axial_affine,
    oblique_affine,
    phantom,
    write_dicomdir,
    write_mr_series,
)


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A file-set with a DICOMDIR."""
    write_mr_series(tmp_path / "source", phantom(), axial_affine())
    write_dicomdir(tmp_path / "source", tmp_path / "disc")
    return tmp_path / "disc"


def images_of(disc: Path) -> list[Path]:
    return sorted(path for path in disc.rglob("*") if path.is_file() and path.name != "DICOMDIR")


@pytest.mark.parametrize("suffix", [".dcm", ".DCM", ";1", ".;1", ".ima"])
def test_files_of_a_dicomdir_may_have_been_renamed(disc: Path, suffix: str) -> None:
    for path in images_of(disc):
        path.rename(path.with_name(path.name + suffix))
    (series,) = read_study(disc).series
    assert series.verdict == "ok", series.reason
    images_of(disc)[-1].unlink()
    (series,) = read_study(disc).series
    assert "listed in the DICOMDIR, but not there" in series.reason


@pytest.mark.parametrize("listed", [["/DOE_JOHN_19500101", "IM1"], ["..", "..", "IM1"], ["\\", "IM1"], ["", ""]])
def test_a_dicomdir_that_lists_files_of_other_places(
    disc: Path, capsys: pytest.CaptureFixture[str], listed: list[str]
) -> None:
    directory = dcmread(disc / "DICOMDIR")
    record = directory.DirectoryRecordSequence[-1]
    record["ReferencedFileID"] = DataElement("ReferencedFileID", "CS", listed, validation_mode=0)
    del record.ReferencedSOPInstanceUIDInFile
    directory.save_as(disc / "DICOMDIR")
    study = read_study(disc)
    assert all(not path.startswith(("/", "..")) for path, _ in study.ignored)


def test_a_dicomdir_whose_records_are_text(disc: Path) -> None:
    directory = dcmread(disc / "DICOMDIR")
    directory["DirectoryRecordSequence"] = DataElement("DirectoryRecordSequence", "LO", "nothing")
    directory.save_as(disc / "DICOMDIR")
    assert [series.verdict for series in read_study(disc).series] == ["ok"]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    write_mr_series(tmp_path / "store", phantom(), axial_affine())
    study = tmp_path / "study"
    study.mkdir()
    (study / "a").symlink_to(tmp_path / "store")
    (study / "b").symlink_to(study / "a")
    (study / "circle").symlink_to(study)
    (study / "above").symlink_to(tmp_path)
    (series,) = read_study(study).series
    assert (series.verdict, len(series.datasets)) == ("ok", 12)


def test_a_link_never_leads_to_what_lies_around_the_study(tmp_path: Path) -> None:
    write_mr_series(tmp_path / "study", phantom(), axial_affine())
    write_mr_series(tmp_path / "other", phantom(), axial_affine(), study_uid="2.25.99")
    (tmp_path / "study" / "up").symlink_to(tmp_path)
    assert len(read_study(tmp_path / "study").series) == 1


def test_copies_are_compared_without_holding_them(tmp_path: Path) -> None:
    paths = write_mr_series(tmp_path, phantom(), axial_affine())
    (tmp_path / "copy").mkdir()
    for path in paths:
        (tmp_path / "copy" / path.name).write_bytes(path.read_bytes())
    (series,) = read_study(tmp_path).series
    assert (series.verdict, len(series.datasets)) == ("ok", 12)


@pytest.mark.parametrize("angle", [0.0, 8.65, 17.3, 31.0])
@pytest.mark.parametrize("skip", [(), (6,)])
def test_positions_of_one_decimal_are_no_gap(tmp_path: Path, angle: float, skip: tuple[int, ...]) -> None:
    affine = oblique_affine((3.0, 3.0, 5.0), (angle, angle / 2, 0.0))

    def edit(ds: Dataset, k: int) -> None:
        ds.ImagePositionPatient = [round(float(x), 1) for x in ds.ImagePositionPatient]

    write_mr_series(tmp_path, phantom((24, 20, 30)), affine, edit=edit, skip=skip)
    (series,) = read_study(tmp_path).series
    if skip:
        assert series.code == "missing-slice"
        return
    assert series.verdict == "ok", series.reason
    corners = np.array([[0, 0, 0, 1], [23, 19, 29, 1]]).T
    np.testing.assert_allclose(series.stacks[0].grid.affine @ corners, affine @ corners, atol=0.2)


@pytest.mark.parametrize("k", [0, 14, 29])
def test_a_reference_slice_across_the_stack_costs_no_series(tmp_path: Path, k: int) -> None:
    array = phantom((24, 20, 29))

    def sagittal(ds: Dataset, index: int) -> None:
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [0, -110, 72]
        ds.InstanceNumber = k + 1

    write_mr_series(tmp_path, array, axial_affine(), first_instance=1 if k else 2)
    (series,) = read_study(tmp_path).series
    number = 100 + k
    write_mr_series(
        tmp_path,
        array[:, :, :1],
        axial_affine(),
        first_instance=number,
        series_uid=series.series_uid,
        edit=sagittal,
    )
    (series,) = read_study(tmp_path).series
    assert series.verdict == "ok", series.reason
    assert series.warnings == ("1 image of another orientation is left out.",)
    np.testing.assert_array_equal(load_stack(series.stacks[0]).array, array)


@pytest.mark.parametrize(
    "spacing", [(600.0, 600.0, 5.0), (0.006, 0.006, 5.0), (1.0, 1.0, 25.0), (1e100, 1.0, 1.0), (1.0, 1.0, 0.03)]
)
def test_geometry_that_no_head_has_is_refused(tmp_path: Path, spacing: tuple[float, float, float]) -> None:
    write_mr_series(tmp_path, phantom(), axial_affine(spacing, origin=(0.0, 0.0, 0.0)))
    try:
        (series,) = read_study(tmp_path).series
    except AcuityError:
        return
    assert series.code in ("inconsistent-headers", "duplicate-positions"), series.reason


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07\x1b[2JT1", "T1\x9b31m"])
def test_no_escape_sequence_comes_from_a_description(tmp_path: Path, text: str) -> None:
    def edit(ds: Dataset, k: int) -> None:
        ds["SeriesDescription"] = DataElement("SeriesDescription", "LO", text, validation_mode=0)

    write_mr_series(tmp_path, phantom(), axial_affine(), edit=edit)
    (series,) = read_study(tmp_path).series
    assert "T1" in series.description and series.description.isprintable()
