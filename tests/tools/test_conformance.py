"""The conformance statement: current, and true of what is read and written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from acuity.dicom.reading.files import MR_CLASSES
from acuity.dicom.reading.read import load_stack, read_study
from acuity.errors import AcuityError
from acuity.volume import Volume
from tests import derived as derived_objects
from tests.derived import Derived, derive
from tests.dicom_builder import oblique_affine, phantom, write_mr_series
from tools import conformance

FILES = {
    "series": ("series/0001.dcm", "series/0030.dcm"),
    "seg": ("seg/sr.dcm", "seg/source.dcm", "report/regions.dcm"),
    "report": ("report/report.dcm",),
    "overview": ("overview/overview.dcm",),
}
OBJECTS = [(kind, name) for kind, names in FILES.items() for name in names]


def elements(ds: Dataset) -> Iterator[pydicom.DataElement]:
    """All elements, those inside sequences too."""
    for element in ds:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)


def test_the_statement_is_current() -> None:
    hint = "run `python tools/conformance.py --write`"
    assert conformance.PAGE.read_text() == conformance.statement(), hint


def test_a_change_of_the_code_changes_the_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    before = conformance.statement()
    monkeypatch.setattr("tools.conformance.MR_CLASSES", MR_CLASSES[:1])
    assert "Legacy Converted" in before and "Legacy Converted" not in conformance.statement()


@pytest.mark.parametrize(("kind", "name"), OBJECTS)
def test_what_is_claimed_to_be_there_is_there_and_nothing_else(derived: Derived, kind: str, name: str) -> None:
    ds = pydicom.dcmread(derived.folder / name)
    claimed = {a.keyword: a.presence for a in conformance.written_objects()[kind].attributes}
    for keyword, presence in claimed.items():
        assert presence in ("ALWAYS", "VNAP", "ANAP", "EMPTY"), keyword
        if presence == "ALWAYS":
            assert keyword in ds and not ds[keyword].is_empty, f"{keyword} is claimed to have a value always"
        elif presence != "ANAP":
            assert keyword in ds, f"{keyword} is claimed to be there always"
            assert presence == "VNAP" or ds[keyword].is_empty, f"{keyword} is claimed to be empty"
    assert {element.keyword for element in ds} <= claimed.keys()


@pytest.mark.parametrize(("kind", "name"), OBJECTS)
def test_classes_syntax_and_library_are_as_stated(oblique: Derived, kind: str, name: str) -> None:
    ds = pydicom.dcmread(oblique.folder / name)
    assert ds.SOPClassUID == conformance.written_objects()[kind].sop_class
    assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert ds.file_meta.ImplementationClassUID == conformance.IMPLEMENTATION_UID
    assert ds.file_meta.ImplementationVersionName == conformance.IMPLEMENTATION_NAME
    assert ds.SOPInstanceUID.startswith(conformance.HIGHDICOM_ROOT)


def test_fixed_values_are_as_stated(oblique: Derived) -> None:
    checked = 0
    for kind, name in OBJECTS:
        ds = pydicom.dcmread(oblique.folder / name)
        for attribute in conformance.written_objects()[kind].attributes:
            if attribute.value.isdigit() and attribute.keyword != "SeriesNumber" or attribute.value.isupper():
                found = ds[attribute.keyword].value
                text = "\\".join(found) if isinstance(found, pydicom.multival.MultiValue) else str(found)
                assert text == attribute.value, f"{name}: {attribute.keyword}"
                checked += 1
    assert checked > 60


def test_every_code_is_stated_and_no_other(derived: Derived) -> None:
    found = set()
    for path in derived.paths:
        if path.parent.name != "source":
            for element in elements(pydicom.dcmread(path)):
                items = element.value if element.VR == "SQ" else []
                found |= {
                    (str(i.CodeValue), i.CodingSchemeDesignator, i.CodeMeaning) for i in items if "CodeValue" in i
                }
    stated = {(code.value, code.scheme, code.meaning) for _, code in conformance.coded_terms()}
    scanner = {("109101", "DCM", "Acquisition Equipment")}  # not where the source does not name it
    assert found <= stated and stated - found <= scanner


def test_private_attributes_are_dropped_wherever_they_hide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_secrets(folder: Path, kind: str, header: dict[str, Any] | None = None) -> Volume:
        volume = source_volume(folder, kind, header)
        for ds in volume.source_images:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99TEST", "a procedure"
            ds.ProcedureCodeSequence = ds.ContrastBolusAgentSequence = [item]
            for place in (ds, item):
                place.private_block(0x0011, "SECRET MAKER", create=True).add_new(1, "LO", "secret")
        return volume

    source_volume = derived_objects.source_volume
    monkeypatch.setattr(derived_objects, "source_volume", with_secrets)
    derived = derive(tmp_path, header={"PatientWeight": "70", "PatientIdentityRemoved": "YES"})
    source = derived.source.source_images[0]
    assert any(e.tag.is_private for e in elements(source.ProcedureCodeSequence[0])), "the source was changed"
    for _, name in OBJECTS:
        ds = pydicom.dcmread(derived.folder / name)
        assert not [e for e in elements(ds) if e.tag.is_private], name
        assert ds.ProcedureCodeSequence[0].CodeMeaning == "a procedure"
        assert ds.PatientWeight == 70 and ds.PatientIdentityRemoved == "YES"


@pytest.mark.parametrize(("keyword", "code"), conformance.required_attributes().items())
def test_images_without_a_required_attribute_are_refused_as_stated(tmp_path: Path, keyword: str, code: str) -> None:
    def without(ds: Dataset, _: int) -> None:
        del ds[keyword]

    write_mr_series(tmp_path, phantom((12, 10, 4)), oblique_affine(), edit=without)
    assert refusal(tmp_path) == code


@pytest.mark.parametrize("keyword", conformance.required_attributes())
def test_a_series_one_of_whose_images_lacks_what_the_others_have_is_refused(tmp_path: Path, keyword: str) -> None:
    def without(ds: Dataset, k: int) -> None:
        if k == 1:
            del ds[keyword]

    write_mr_series(tmp_path, phantom((12, 10, 4)), oblique_affine(), edit=without)
    assert refusal(tmp_path) == ("unreadable-pixels" if keyword == "PixelData" else "inconsistent-headers")


def refusal(folder: Path) -> str:
    """The code with which a study of one series is refused."""
    try:
        (series,) = read_study(folder).series
        if series.verdict == "ok":
            load_stack(series.stacks[0])
    except AcuityError as error:
        return error.code
    return series.code


def test_attributes_that_are_looked_at_are_found_in_the_code() -> None:
    looked_at = conformance.keywords_looked_at()
    assert {"ContrastBolusAgent", "EchoTime", "ImagesInAcquisition", "TransferSyntaxUID"} <= set(looked_at)
    assert "PatientName" not in looked_at
