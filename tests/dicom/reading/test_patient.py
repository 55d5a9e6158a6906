"""One study with the images of two patients is refused; what is only written otherwise gets a warning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acuity.dicom.reading.read import read_study
from acuity.errors import SeveralStudiesError
from tests.dicom_builder import apply_header, axial_affine, phantom, write_mr_series


def write_two(folder: Path, **header: str | None) -> None:
    """Two series, of which the second says other things of the patient."""
    write_mr_series(folder / "1", phantom(), axial_affine(), PatientName="Doe^Jane Mary", PatientSex="F")
    second: dict[str, Any] = {"PatientName": "Doe^Jane Mary", "PatientSex": "F", **header}
    write_mr_series(folder / "2", phantom(), axial_affine(), name="T2", series_number=2, **second)


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("PatientID", "ANOTHER", "2 patient IDs"),
        ("PatientBirthDate", "19701231", "2 birth dates"),
        ("PatientSex", "M", "2 sexes"),
        ("PatientName", "Roe^Richard", "2 names of patients"),
    ],
)
@pytest.mark.parametrize("one_slice", [False, True])
def test_two_patients_are_refused(tmp_path: Path, keyword: str, value: str, message: str, one_slice: bool) -> None:
    if one_slice:
        edit = lambda ds, k: apply_header(ds, {keyword: value} if k == 3 else {})  # noqa: E731
        write_mr_series(tmp_path, phantom(), axial_affine(), PatientName="Doe^Jane Mary", PatientSex="F", edit=edit)
    else:
        write_two(tmp_path, **{keyword: value})
    with pytest.raises(SeveralStudiesError, match=message) as refusal:
        read_study(tmp_path)
    assert value not in str(refusal.value) and "Doe" not in str(refusal.value)


@pytest.mark.parametrize(
    ("header", "warning"),
    [
        ({"PatientID": None}, "PatientID is absent here"),
        ({"PatientName": "DOE^JANE"}, "name is written otherwise"),
    ],
)
def test_what_is_absent_or_written_otherwise_gets_a_warning(
    tmp_path: Path, header: dict[str, str | None], warning: str
) -> None:
    write_two(tmp_path, **header)
    first, second = read_study(tmp_path).series
    assert (first.verdict, second.verdict) == ("ok", "ok")
    assert not first.warnings and warning in second.warnings[0] and "Doe" not in second.warnings[0]


@pytest.mark.parametrize(
    "header",
    [
        {"PatientName": "doe jane  mary"},
        {"PatientName": ""},
        {"PatientBirthDate": "", "PatientSex": ""},
        {"PatientBirthDate": "19000101"},
    ],
)
def test_case_and_absent_facts_are_no_difference(tmp_path: Path, header: dict[str, str]) -> None:
    write_two(tmp_path, **header)
    assert [(s.verdict, s.warnings) for s in read_study(tmp_path).series] == [("ok", ())] * 2
