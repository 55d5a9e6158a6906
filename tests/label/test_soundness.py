"""Segmentations that belong to their study, and those that do not: told by the header, before any pixel is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from acuity.anatomy import Sequence
from label.soundness import is_uid, segmentation_fault
from tests.label_cases import GRID, speckle
from tests.study_phantom import write_study
from tests.unsound_segs import UNSOUND, in_groups, write_seg


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, dict.fromkeys(Sequence, GRID), PatientName="Doe^Jane", PatientID="1")
    return folder


@pytest.fixture
def seg(study: Path, tmp_path: Path) -> Dataset:
    return write_seg(tmp_path / "seg.dcm", study / "T1c", GRID, speckle(GRID))


def fault(ds: Dataset, study: Path) -> str | None:
    headers = [dcmread(next((study / s.value).glob("*.dcm")), stop_before_pixels=True) for s in Sequence]
    return segmentation_fault(ds, {str(one.SeriesInstanceUID): one for one in headers}.get)


def test_what_acuity_writes_is_sound(seg: Dataset, study: Path) -> None:
    assert fault(seg, study) is None


@pytest.mark.parametrize("name", ["Doe^Jane^", "Doe^Jane^^^", "Doe^Jane"])
def test_viewers_may_end_a_name_otherwise(seg: Dataset, study: Path, name: str) -> None:
    seg.PatientName = name
    assert fault(seg, study) is None


def test_slices_need_no_declared_distance(seg: Dataset, study: Path) -> None:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        in_groups("PixelMeasuresSequence", keyword, None)(seg)
    assert fault(seg, study) is None


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("case", UNSOUND)
def test_what_does_not_belong_to_its_study_is_told(seg: Dataset, study: Path, case: str) -> None:
    change, said = UNSOUND[case]
    change(seg)
    found = fault(seg, study)
    assert found is not None and said in found
    assert "Doe" not in found and "1e" not in found  # no value of the header


@pytest.mark.parametrize("text", ["", "1.2.", "1..2", "1.2/3", "../1", "1.2\n", "a", "1" * 65, "1.2 "])
def test_what_is_no_uid(text: str) -> None:
    assert not is_uid(text)
