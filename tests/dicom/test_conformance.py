"""docs/conformance.md against the objects that are written, and against what is read and refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_description, keyword_for_tag, tag_for_keyword
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, AllTransferSyntaxes, ExplicitVRLittleEndian

import acuity
from acuity.dicom.reading.files import MR_CLASSES
from acuity.dicom.reading.read import load_stack, read_study
from acuity.errors import AcuityError
from acuity.volume import Volume
from tests import derived as derived_objects
from tests.derived import Derived, derive
from tests.dicom_builder import oblique_affine, phantom, write_mr_series

STATEMENT = (Path(__file__).resolve().parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
OBJECTS = {
    "series/0001.dcm": "Super-resolved series",
    "series/0030.dcm": "Super-resolved series",
    "seg/sr.dcm": "Segmentations",
    "seg/source.dcm": "Segmentations",
    "report/regions.dcm": "Segmentations",
    "report/report.dcm": "Measurement report",
    "overview/overview.dcm": "Overview",
}


class Attribute(NamedTuple):
    """A line of an object's table."""

    keyword: str
    presence: str
    value: str


def section(heading: str) -> str:
    """Text from a heading that begins so to the next heading."""
    found = re.search(rf"^#+ {heading}.*\n(?P<text>(?:(?!#).*\n)*)", STATEMENT, re.MULTILINE)
    assert found, f"docs/conformance.md has no section {heading}"
    return found["text"]


def attributes(title: str) -> dict[str, Attribute]:
    """Keyword -> line, of an object's own table and of the modules of all objects."""
    text = section("Modules of all objects") + section(f"{title}: ")
    found = re.findall(r"\| \((....),(....)\) \| (ALWAYS|VNAP|ANAP|EMPTY) \| (.*) \|$", text, re.MULTILINE)
    lines = [Attribute(keyword_for_tag(group + element), *more) for group, element, *more in found]
    rows = len(re.findall("^[|]", text, re.MULTILINE)) - 4  # without the heads of two tables
    assert len({line.keyword for line in lines}) == rows, f"a line of {title} is not understood, or stands there twice"
    return {line.keyword: line for line in lines}


def elements(ds: Dataset) -> Iterator[pydicom.DataElement]:
    """All elements, those inside sequences too."""
    for element in ds:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)


def test_names_and_tags_are_the_dictionary_s() -> None:
    named = re.findall(r"(?:\| | |^|\()([A-Z][\w'()/. -]*?)(?: \| | )\((....),(....)\)", STATEMENT, re.MULTILINE)
    assert len(named) > 150
    for name, group, element in named:
        assert name.endswith(dictionary_description(group + element)), f"({group},{element}) is not {name}"


@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_stated_to_be_there_is_there_and_nothing_else(derived: Derived, name: str) -> None:
    ds = pydicom.dcmread(derived.folder / name)
    stated = attributes(OBJECTS[name])
    for keyword, presence, _ in stated.values():
        if presence == "ALWAYS":
            assert keyword in ds and not ds[keyword].is_empty, f"{keyword} is stated to have a value always"
        elif presence != "ANAP":
            assert keyword in ds, f"{keyword} is stated to be there always"
            assert presence == "VNAP" or ds[keyword].is_empty, f"{keyword} is stated to be empty"
    assert {element.keyword for element in ds} <= stated.keys()


@pytest.mark.parametrize("name", OBJECTS)
def test_fixed_values_classes_and_library_are_as_stated(oblique: Derived, name: str) -> None:
    ds = pydicom.dcmread(oblique.folder / name)
    fixed = {a.keyword: a.value for a in attributes(OBJECTS[name]).values() if re.fullmatch(r"[A-Z0-9\\_]+", a.value)}
    assert len(fixed) >= 6
    for keyword in fixed.keys() - {"SeriesNumber"}:  # the run gives it
        found = ds[keyword].value
        text = "\\".join(found) if isinstance(found, pydicom.multival.MultiValue) else str(found)
        assert text == fixed[keyword], keyword
    assert f"#### {OBJECTS[name]}: {ds.SOPClassUID.name}\n" in STATEMENT
    assert f"| {ds.SOPClassUID.name} | {ds.SOPClassUID} | | " in STATEMENT or ds.SOPClassUID in MR_CLASSES
    assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert f"Class UID is {ds.file_meta.ImplementationClassUID}," in STATEMENT
    assert f"Version Name is {ds.file_meta.ImplementationVersionName}," in STATEMENT
    for uid in (ds.SOPInstanceUID, ds.SeriesInstanceUID):
        assert any(uid.startswith(root) for root in re.findall(r"under ([\d.]+\.) \(", STATEMENT))


def test_every_code_is_stated_and_no_other(derived: Derived) -> None:
    datasets = [pydicom.dcmread(derived.folder / name) for name in OBJECTS]
    items = [item for ds in datasets for element in elements(ds) if element.VR == "SQ" for item in element.value]
    found = {(str(i.CodeValue), i.CodingSchemeDesignator, i.CodeMeaning) for i in items if "CodeValue" in i}
    text = section("8.4 Coded terminology")
    stated = {(v, s, m) for v, s, m in re.findall(r"^\| [^|]*\| ([\w-]+) \| (\w+) \| ([^|]+) \|$", text, re.MULTILINE)}
    stated -= {("value", "scheme", "meaning")}
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
    for name in OBJECTS:
        ds = pydicom.dcmread(derived.folder / name)
        assert not [e for e in elements(ds) if e.tag.is_private], name
        assert ds.ProcedureCodeSequence[0].CodeMeaning == "a procedure"
        assert ds.PatientWeight == 70 and ds.PatientIdentityRemoved == "YES"


def decodable(syntax: UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def test_classes_and_syntaxes_that_are_read_are_stated() -> None:
    assert f"Acuity {acuity.__version__} reads" in STATEMENT
    assert set(re.findall(r"\| ([\d.]+) \| yes \|", section("1 Overview"))) == set(MR_CLASSES)
    syntaxes = re.findall(r"\| (1\.2\.840\.10008\.1\.2[\d.]*) \|", section("5.1 Files read"))
    assert set(syntaxes) == {syntax for syntax in AllTransferSyntaxes if decodable(syntax)}


REQUIRED = re.findall(r"\| \((....),(....)\) \| `([a-z-]+)` \|", section("8.1 IOD contents"))


@pytest.mark.parametrize(("group", "element", "code"), REQUIRED)
@pytest.mark.parametrize("slices", ["all", "one"])
def test_images_without_a_required_attribute_are_refused_as_stated(
    tmp_path: Path, group: str, element: str, code: str, slices: str
) -> None:
    keyword = keyword_for_tag(group + element)
    assert tag_for_keyword(keyword) is not None

    def without(ds: Dataset, k: int) -> None:
        if slices == "all" or k == 1:
            del ds[keyword]

    write_mr_series(tmp_path, phantom((12, 10, 4)), oblique_affine(), edit=without)
    if slices == "one":
        code = "unreadable-pixels" if keyword == "PixelData" else "inconsistent-headers"
    assert refusal(tmp_path) == code


def refusal(folder: Path) -> str:
    """The code with which a study of one series is refused."""
    try:
        (series,) = read_study(folder).series
        if series.verdict == "ok":
            load_stack(series.stacks[0])
    except AcuityError as error:
        return error.code
    return series.code
