"""Whatever a header holds: its series is refused when it is read, or everything can be written from it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement

from acuity.anatomy import Sequence
from acuity.dicom.reading.read import load_stack, read_study
from acuity.dicom.reading.scan import scan_of
from acuity.dicom.reading.study import Series
from acuity.dicom.writing.overview import write_overview
from acuity.dicom.writing.report import write_report
from acuity.dicom.writing.segmentation import write_regions, write_segmentation
from acuity.dicom.writing.series import write_mr_series
from acuity.errors import InputError, UnreadablePixelsError
from acuity.imaging.measurement import measure_regions
from tests.derived import SEG_MODEL, SR_MODEL
from tests.dicom_builder import axial_affine, phantom
from tests.dicom_builder import write_mr_series as write_source

# What the reader needs: a fault in one of these refuses the series, which other tests show.
NEEDED = {
    tag_for_keyword(keyword) or 0
    for keyword in [
        "SpecificCharacterSet",
        "SOPClassUID",
        "SOPInstanceUID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "Modality",
        "PatientName",
        "PatientID",
        "AccessionNumber",
        "StudyID",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "NumberOfFrames",
        "ModalityLUTSequence",
        "RescaleSlope",
        "RescaleIntercept",
        "ImagesInAcquisition",
        "PerFrameFunctionalGroupsSequence",
        "PlanarConfiguration",
        "SharedFunctionalGroupsSequence",
        "PixelData",
    ]
}
OPTIONAL = sorted(tag for tag in DicomDictionary if 0x0004FFFF < tag < 0x7FE00000 and tag not in NEEDED)
ADMINISTRATIVE = [tag for tag in OPTIONAL if tag >> 16 in (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0040)]
FAULTS = {
    "nothing": b"",
    "one byte": b"\x01",
    "a length of no number": b"\xff" * 7,
    "zeros of a date": b"00000000000000",
    "a date that is none": b"20201345256199",
    "a long text": b"I" * 2000,
    "several values": b"A\\B\\C ",
    "bytes of no text": b"\x1b$B\xff\xfe\x80\\\x00\x07",
    "numbers that are none": b"nan\\1e999\\-inf",
}


def put(path: Path, elements: dict[int, tuple[str, bytes]]) -> None:
    """Set elements of a file to a type and bytes as they are, which pydicom would not write."""
    ds = pydicom.dcmread(path)
    kept: dict[int, tuple[str, bytes]] = {}
    for tag in tuple(ds.keys()):
        item = ds.get_item(tag)
        value = item.value if isinstance(item, RawDataElement) else str(item.value).encode()  # the character set
        kept[int(tag)] = (str(item.VR), value)
    data = path.read_bytes()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")  # after the group of file meta information
    for number, (vr, value) in sorted((kept | elements).items()):
        long = vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
        length = struct.pack("<2xI" if long else "<H", len(value))
        start_of = struct.pack("<HH", number >> 16, number & 0xFFFF) + vr.encode() + length
        data = data[:start] + start_of + value
        start = len(data)
    path.write_bytes(data)


def write_all(series: Series, folder: Path) -> None:
    """Everything that a run writes from a series."""
    volume = load_stack(series.stacks[0])
    labels = volume.with_array(np.where(volume.array > 1000, 4, 0).astype(np.uint8))
    named: dict[str, Any] = {"series_uid": "2.25.1", "series_number": 1, "description": "test", "model": SEG_MODEL}
    written = write_mr_series(
        volume, folder / "series", sequence=Sequence.T1, series_uid="2.25.2", series_number=2, model=SR_MODEL
    )
    write_segmentation(labels, volume.source_images, folder / "seg.dcm", **named)
    regions = write_regions(labels, written, folder / "regions.dcm", **named)
    measurements = measure_regions(labels)
    write_report(measurements, regions, written, folder / "report.dcm", **named)
    write_overview(
        volume, volume, labels, folder / "overview", sequence=Sequence.T1, measurements=measurements, **named
    )


def assert_written_or_refused(folder: Path) -> list[Series]:
    study = read_study(folder / "in")
    for series in study.series:
        assert scan_of(series, series.stacks[0] if series.stacks else None).timing()
        if series.verdict == "ok":
            try:
                write_all(series, folder / "out")
            except UnreadablePixelsError:  # before anything is computed
                continue
            for path in (folder / "out").rglob("*.dcm"):
                assert pydicom.dcmread(path).PatientID == "PHANTOM-1"
    return list(study.series)


@pytest.mark.filterwarnings("ignore")  # of pydicom's, on values that tests write on purpose
@pytest.mark.parametrize("vr", ["as the standard has it", "LO"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_in_any_element_that_is_not_needed_ends_a_run(tmp_path: Path, fault: str, vr: str) -> None:
    """All of the dictionary's elements at once, each with the same bytes."""
    for k, path in enumerate(write_source(tmp_path / "in", phantom((24, 20, 4)), axial_affine())):
        elements = {}
        for tag in OPTIONAL if k == 0 else ADMINISTRATIVE:
            own = DicomDictionary[tag][0].split(" or ")[0]
            if own not in ("NONE", "SQ"):
                elements[tag] = (vr if len(vr) == 2 else own, FAULTS[fault])
        put(path, elements)
    (series,) = assert_written_or_refused(tmp_path)
    assert series.verdict == "ok", series.reason


EVERY = sorted(tag for tag in DicomDictionary if 0x0004FFFF < tag < 0x7FE00000 and tag not in NEEDED)
VRS = sorted({own for entry in DicomDictionary.values() for own in entry[0].split(" or ")} - {"NONE", "SQ"}) + ["SQ"]


@pytest.mark.filterwarnings("ignore")
@given(
    tag=st.sampled_from(EVERY) | st.sampled_from(sorted(NEEDED - {0x7FE00010})),
    vr=st.sampled_from(VRS),
    value=st.sampled_from(sorted(FAULTS.values())) | st.binary(max_size=24),
    k=st.integers(0, 3),
)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_one_corrupt_element(tmp_path_factory: pytest.TempPathFactory, tag: int, vr: str, value: bytes, k: int) -> None:
    """Of any type in any element, the needed ones too, of one slice."""
    folder = tmp_path_factory.mktemp("corrupt")

    path = write_source(folder / "in", phantom((24, 20, 4)), axial_affine())[k]
    put(path, {tag: (vr, value)})
    write_source(folder / "in" / "good", phantom((24, 20, 4)), axial_affine(), name="good", series_number=2)
    try:
        series = assert_written_or_refused(folder)
    except InputError:  # another study or patient
        return
    assert any(s.description == "good" and s.verdict == "ok" for s in series)
