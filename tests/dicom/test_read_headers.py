"""A study from headers that are no files yet, as an archive's metadata give them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from acuity.anatomy import Sequence
from acuity.dicom.reading.read import load_stack, read_study, study_from_headers
from acuity.dicom.selection.select import select_sequences
from acuity.errors import NoDicomError, SeveralStudiesError, UnreadablePixelsError
from tests.study_phantom import oblique_grid, write_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study")
    write_study(path, dict.fromkeys(Sequence, oblique_grid((10.0, 10.0, 10.0))))
    return path


def headers(folder: Path) -> list[Dataset]:
    """Without pixels, by way of JSON, as DICOMweb carries them."""
    found = []
    for file in sorted(folder.rglob("*.dcm")):
        ds = Dataset.from_json(json.loads(dcmread(file, stop_before_pixels=True).to_json()))
        ds.filename = str(file)
        found.append(ds)
    return found


def test_headers_give_the_study_that_the_files_give(folder: Path) -> None:
    by_files, by_headers = read_study(folder), study_from_headers(headers(folder))
    assert by_headers.study_uid == by_files.study_uid
    for one, other in zip(by_headers.series, by_files.series, strict=True):
        assert (one.series_uid, one.verdict, one.reason) == (other.series_uid, other.verdict, other.reason)
        assert one.stacks[0].grid.same_as(other.stacks[0].grid, 1e-6)
        np.testing.assert_array_equal(load_stack(one.stacks[0]).array, load_stack(other.stacks[0]).array)
    chosen = [
        {s: c.series.series_uid for s, c in select_sequences(study).choices.items()} for study in (by_files, by_headers)
    ]
    assert chosen[0] == chosen[1]


def test_pixels_that_never_came_show_when_they_are_asked_for(folder: Path, tmp_path: Path) -> None:
    absent = headers(folder)
    for ds in absent:
        ds.filename = str(tmp_path / ds.SeriesInstanceUID / Path(ds.filename).name)
    study = study_from_headers(absent)
    with pytest.raises(UnreadablePixelsError, match="FileNotFoundError"):
        load_stack(study.series[0].stacks[0])


def test_no_study_and_two_studies_are_refused(folder: Path) -> None:
    with pytest.raises(NoDicomError):
        study_from_headers([])
    two = headers(folder)
    two[0].StudyInstanceUID = "1.2.3"
    with pytest.raises(SeveralStudiesError):
        study_from_headers(two)
