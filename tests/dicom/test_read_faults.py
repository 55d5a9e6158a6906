"""Faulty series are refused with their own code, and never become a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, JPEGLSLossless

import acuity.errors as errors
from acuity.dicom.reading.read import load_stack, raise_refusal, read_study
from acuity.errors import AcuityError
from tests.dicom_builder import (
    apply_header,
    axial_affine,
    corrupt_element,
    oblique_affine,
    phantom,
    truncate,
    uid,
    write_dicomdir,
    write_enhanced_mr,
    write_mr_series,
)

LAST = 11  # number of the phantom's last slice


def on_slice(k: int, **header: object) -> dict[str, Any]:
    """An edit of one slice's header; None deletes."""
    return {"edit": lambda ds, index: apply_header(ds, header) if index == k else None}


def moved(*offset: float, k: int = 4, steps: bool = False) -> dict[str, Any]:
    """Move slice ``k`` by an offset in mm, or with ``steps`` each slice by its number of offsets."""

    def edit(ds: Dataset, index: int) -> None:
        factor = index if steps else index == k
        ds.ImagePositionPatient = [float(x) + d * factor for x, d in zip(ds.ImagePositionPatient, offset, strict=True)]

    return {"edit": edit}


def localizer(ds: Dataset, k: int) -> None:
    planes = ([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1])
    ds.ImageOrientationPatient = planes[k % 3]


def turned(angle: float) -> list[float]:
    """ImageOrientationPatient of an axial slice that is turned in its plane by a small angle (radians)."""
    return [1.0, angle, 0.0, -angle, 1.0, 0.0]


POSITION, ORIENTATION = "ImagePositionPatient", "ImageOrientationPatient"
INCONSISTENT, UNSUPPORTED, CT = "inconsistent-headers", "unsupported-series", CTImageStorage
# What is wrong: arguments of write_mr_series, code of the refusal, words of its message.
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a missing slice": (dict(skip=(5,)), "missing-slice", "12 mm|6 mm between instance 5 and instance 7"),
    "two gaps": (dict(skip=(2, 3, 8)), "missing-slice", "9 mm between instance 2 and instance 5"),
    "a missing end, declared": (dict(skip=(LAST,), ImagesInAcquisition="12"), "missing-slice", "11 images at 11"),
    "a position off by a little": (moved(0, 0, 0.4), "missing-slice", "must be equal"),
    "a slice beside the others": (moved(2.5, 0, 0), INCONSISTENT, "2.5 mm beside"),
    "no position on one": (on_slice(4, ImagePositionPatient=None), INCONSISTENT, "1 of 12 files"),
    "no orientation on the last": (on_slice(LAST, ImageOrientationPatient=None), INCONSISTENT, ORIENTATION),
    "an orientation of zeros": (on_slice(4, ImageOrientationPatient=[0] * 6), INCONSISTENT, "perpendicular unit vec"),
    "vectors that are no unit": (on_slice(4, ImageOrientationPatient=[1.1, 0, 0, 0, 1, 0]), INCONSISTENT, "1.1000"),
    "vectors at an angle": (on_slice(4, ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0]), INCONSISTENT, "product 0.6"),
    "another orientation": (
        on_slice(LAST, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        "mixed-orientations",
        "1 of 12",
    ),
    "pixel spacing differs": (on_slice(4, PixelSpacing=[1, 1.1]), INCONSISTENT, "PixelSpacing"),
    "pixel spacing of zero": (on_slice(4, PixelSpacing=[0, 1]), INCONSISTENT, "above 0"),
    "size differs": (on_slice(4, Rows=19), INCONSISTENT, r"\(20, 24\) and \(19, 24\)"),
    "no size": (on_slice(4, Rows=0), INCONSISTENT, "Rows or Columns is absent or 0"),
    "echo time differs": (on_slice(LAST, EchoTime="90"), INCONSISTENT, "12.0 and 90.0"),
    "echo time on one only": (on_slice(4, EchoTime=None), INCONSISTENT, "EchoTime differs .* 12.0 and None"),
    "frame of reference differs": (on_slice(LAST, FrameOfReferenceUID=uid("b")), INCONSISTENT, "FrameOfReferenceUID"),
    "slope of zero": (dict(slope=1.0) | on_slice(4, RescaleSlope="0"), INCONSISTENT, "erase"),
    "a slope on one slice only": (on_slice(4, RescaleSlope="2"), INCONSISTENT, "others have none"),
    "no geometry": ({POSITION: None, ORIENTATION: None}, "no-geometry", f"{POSITION}, {ORIENTATION} is absent"),
    "no pixel spacing": (dict(PixelSpacing=None), "no-geometry", "PixelSpacing is absent"),
    "a localizer": (dict(edit=localizer), "mixed-orientations", "3 orientations"),
    "a tilted gantry": (moved(0, 0.8, 0, steps=True), "gantry-tilt", "0.8 mm a slice, 14.9 degrees"),
    "one position twice": (moved(0, 0, 3), "duplicate-positions", "At 1 of 11 positions"),
    "all at one position": (dict(ImagePositionPatient=[0, 0, 0]), "duplicate-positions", "up to 12"),
    "two slices": (dict(skip=range(2, 12)), "too-few-slices", "Only 2 slices"),
    "one slice": (dict(skip=range(1, 12)), "too-few-slices", "Only 1 slice"),
    "beside by more than 0.2 mm": (moved(0.21, 0, 0), INCONSISTENT, "0.21 mm beside"),
    "off by more than 1 %": (moved(0, 0, 0.04), "missing-slice", "must be equal"),
    "pixel spacing by more than 1e-4": (on_slice(4, PixelSpacing=[1, 1.0002]), INCONSISTENT, "PixelSpacing"),
    "echo time by more than 2 %": (on_slice(4, EchoTime="12.4"), INCONSISTENT, "12.0 and 12.4"),
    "a slightly turned slice": (on_slice(4, ImageOrientationPatient=turned(2e-4)), "mixed-orientations", "1 of 12"),
    "a palette": (dict(PhotometricInterpretation="PALETTE COLOR"), UNSUPPORTED, "A color image"),
    "a table of values": (dict(ModalityLUTSequence=[Dataset()]), UNSUPPORTED, "by a table"),
    "several frames": (dict(NumberOfFrames=2), UNSUPPORTED, "Several frames in an MR Image"),
    "another modality": (dict(Modality="PT"), UNSUPPORTED, "PT, MR Image Storage"),
    "another class on one": (on_slice(4, SOPClassUID=CT), UNSUPPORTED, "MR, CT Image Storage"),
    "CT": (dict(SOPClassUID=CT, Modality="CT"), UNSUPPORTED, "CT, CT Image Storage"),
    "CT that misses a slice": (dict(SOPClassUID=CT, Modality="CT", skip=(5,)), "missing-slice", "Besides, this is CT"),
    "tilted CT": (moved(0, 0.8, 0, steps=True) | dict(SOPClassUID=CT), "gantry-tilt", "Besides, this is CT"),
    "CT without geometry": (dict(SOPClassUID=CT, PixelSpacing=None), UNSUPPORTED, "CT Image Storage"),
}
KINDS = {kind.code: kind for kind in errors.SeriesError.__subclasses__()}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_refused_with_its_code(tmp_path: Path, fault: str) -> None:
    arguments, code, message = FAULTS[fault]
    write_mr_series(tmp_path / "bad", phantom(), axial_affine(), series_number=1, **arguments)
    write_mr_series(tmp_path / "good", phantom(), oblique_affine(), series_number=2, name="good")
    bad, good = read_study(tmp_path).series
    assert (bad.verdict, bad.code, bad.stacks) == ("refused", code, ())
    assert good.verdict == "ok"  # a bad series does not stop the study
    with pytest.raises(AcuityError, match=message) as refusal:
        raise_refusal(bad)
    assert type(refusal.value) is KINDS[code]
    raise_refusal(good)


# Rounding of texts, of positions to 0.1 mm and of nominal times: no faults.
SOUND: dict[str, dict[str, Any]] = {
    "beside by less than 0.2 mm": moved(0.19, 0, 0),
    "off by less than 1 %": moved(0, 0, 0.014),
    "pixel spacing by less than 1e-4": on_slice(4, PixelSpacing=[1, 1.00008]),
    "echo time by less than 2 %": on_slice(4, EchoTime="12.2"),
    "a hardly turned slice": on_slice(4, ImageOrientationPatient=turned(9e-5)),
    "vectors of three decimals": dict(ImageOrientationPatient=["0.999", "0.045", "0", "-0.045", "0.999", "0"]),
    "three slices": dict(skip=range(3, 12)),
}


@pytest.mark.parametrize("rounding", SOUND)
def test_rounding_is_no_fault(tmp_path: Path, rounding: str) -> None:
    write_mr_series(tmp_path, phantom(), axial_affine(), **SOUND[rounding])
    (series,) = read_study(tmp_path).series
    assert series.verdict == "ok", series.reason


def test_there_is_a_fault_for_each_refusal() -> None:
    assert {code for _, code, _ in FAULTS.values()} | {"unreadable-pixels"} == KINDS.keys()


def test_oblique_series_miss_slices_too(tmp_path: Path) -> None:
    write_mr_series(tmp_path, phantom(), oblique_affine((0.8, 1.3, 2.0)), skip=(7,))
    (series,) = read_study(tmp_path).series
    assert series.code == "missing-slice"
    assert "Neighboring slices are 2 mm apart, but 4 mm between instance 7 and instance 9." in series.reason


@pytest.mark.parametrize("declared", ["96", "24", "12", "11"])
def test_a_declared_number_that_whole_volumes_explain_is_no_fault(tmp_path: Path, declared: str) -> None:
    write_mr_series(tmp_path, phantom(), axial_affine(), ImagesInAcquisition=declared)
    assert read_study(tmp_path).series[0].verdict == "ok"


def test_derived_images_copy_the_number_of_their_source(tmp_path: Path) -> None:
    write_mr_series(
        tmp_path, phantom(), axial_affine(), ImagesInAcquisition="50", ImageType=["DERIVED", "PRIMARY", "MPR"]
    )
    assert read_study(tmp_path).series[0].verdict == "ok"


@pytest.mark.parametrize("k", [0, 4, LAST])
@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_garbage_in_a_geometry_element(tmp_path: Path, keyword: str, k: int) -> None:
    paths = write_mr_series(tmp_path, phantom(), axial_affine())
    corrupt_element(paths[k], keyword, b"\xff?" * 40)
    (series,) = read_study(tmp_path).series
    assert series.code == "inconsistent-headers"
    assert keyword in series.reason


@pytest.mark.parametrize("k", [0, 4, LAST])
@pytest.mark.parametrize("keep", [200, 500, 900, 0.4, 0.7, -1])
@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian"])
def test_a_truncated_file_refuses_its_series(tmp_path: Path, syntax: str, keep: float, k: int) -> None:
    """Wherever it is cut, in the header or in the pixels, and also at the ends, where no gap shows."""
    paths = write_mr_series(tmp_path, phantom(), axial_affine(), transfer_syntax=getattr(pydicom.uid, syntax))
    truncate(paths[k], paths[k].stat().st_size - 1 if keep == -1 else keep)
    series = read_study(tmp_path).series
    assert {s.verdict for s in series} == {"refused"}
    assert {s.code for s in series} <= {"inconsistent-headers", "unreadable-pixels"}


@pytest.mark.parametrize("keep", [0.4, 0.75, 0.95])
@pytest.mark.parametrize(
    "syntax", ["DeflatedExplicitVRLittleEndian", "RLELossless", "JPEGLosslessSV1", "JPEGLSLossless"]
)
def test_a_truncated_compressed_file_refuses_its_series(tmp_path: Path, syntax: str, keep: float) -> None:
    paths = write_mr_series(tmp_path, phantom(), axial_affine(), transfer_syntax=getattr(pydicom.uid, syntax))
    truncate(paths[LAST], keep)
    assert {s.verdict for s in read_study(tmp_path).series} == {"refused"}


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_a_slice_whose_header_is_destroyed_refuses_its_series(tmp_path: Path, size: int) -> None:
    """It is named as its siblings are, and at the end of the stack nothing else tells that it is gone."""
    paths = write_mr_series(tmp_path / "bad", phantom(), axial_affine())
    write_mr_series(tmp_path / "good", phantom(), axial_affine(), name="good", series_number=2)
    paths[LAST].write_bytes(np.random.default_rng(0).bytes(size))
    study = read_study(tmp_path)
    assert [s.code for s in study.series] == ["inconsistent-headers", "ok"]
    assert study.ignored == (("bad/T1_0012.dcm", "named as the DICOM files beside it, but holds no DICOM header"),)


def test_a_file_without_series_uid_refuses_the_series_of_its_folder(tmp_path: Path) -> None:
    paths = write_mr_series(tmp_path / "bad", phantom(), axial_affine())
    write_mr_series(tmp_path / "good", phantom(), axial_affine(), name="good", series_number=2)
    ds = dcmread(paths[LAST])
    del ds.SeriesInstanceUID
    ds.save_as(paths[LAST])
    bad, good = read_study(tmp_path).series
    assert (bad.code, good.code) == ("inconsistent-headers", "ok")
    assert "1 damaged file of this series or of its folder" in bad.reason


@pytest.mark.parametrize("k", [0, LAST])
def test_an_end_slice_lost_to_another_series_uid(tmp_path: Path, k: int) -> None:
    write_mr_series(tmp_path, phantom(), axial_affine(), **on_slice(k, SeriesInstanceUID=uid("corrupt")))
    codes = {len(s.datasets): s.code for s in read_study(tmp_path).series}
    assert codes == {1: "too-few-slices", 11: "inconsistent-headers"}


def test_what_a_dicomdir_lists_and_the_folder_lacks(tmp_path: Path) -> None:
    write_mr_series(tmp_path / "source", phantom(), axial_affine())
    write_dicomdir(tmp_path / "source", tmp_path / "disc")
    images = sorted(p for p in (tmp_path / "disc").rglob("*") if p.is_file() and p.name != "DICOMDIR")
    images[-1].unlink()
    (series,) = read_study(tmp_path / "disc").series
    assert series.code == "inconsistent-headers"
    assert "listed in the DICOMDIR, but not there" in series.reason


def test_pixels_that_do_not_decode(tmp_path: Path) -> None:
    """The envelope is whole, so only decoding tells."""
    paths = write_mr_series(tmp_path, phantom(), axial_affine(), transfer_syntax=JPEGLSLossless)
    data = bytearray(paths[6].read_bytes())
    start = data.index(b"\xff\xd8\xff\xf7")
    data[start : start + 40] = b"\0" * 40
    paths[6].write_bytes(bytes(data))
    (series,) = read_study(tmp_path).series
    with pytest.raises(errors.UnreadablePixelsError, match="slice 7 cannot be decoded.*JPEG-LS"):
        load_stack(series.stacks[0])


@pytest.mark.parametrize("enhanced", [False, True])
def test_a_file_that_is_cut_after_its_header_was_read(tmp_path: Path, enhanced: bool) -> None:
    if enhanced:
        path = write_enhanced_mr(tmp_path / "1.dcm", [phantom()], axial_affine())
    else:
        path = write_mr_series(tmp_path, phantom(), axial_affine())[2]
    (series,) = read_study(tmp_path).series
    truncate(path, 0.8)
    with pytest.raises(errors.UnreadablePixelsError, match=f"slice {1 if enhanced else 3} cannot be decoded"):
        load_stack(series.stacks[0])


def test_a_file_that_became_another_image_after_its_header_was_read(tmp_path: Path) -> None:
    paths = write_mr_series(tmp_path, phantom(), axial_affine())
    (series,) = read_study(tmp_path).series
    paths[2].write_bytes(paths[3].read_bytes())
    with pytest.raises(errors.UnreadablePixelsError, match="slice 3 cannot be decoded .*ValueError"):
        load_stack(series.stacks[0])


def test_a_file_that_got_another_size_after_its_header_was_read(tmp_path: Path) -> None:
    paths = write_mr_series(tmp_path, phantom(), axial_affine())
    (series,) = read_study(tmp_path).series
    ds = pydicom.dcmread(paths[2])
    ds.Rows, ds.Columns = ds.Columns, ds.Rows
    ds.save_as(paths[2])
    with pytest.raises(
        errors.UnreadablePixelsError, match=r"slice 3 decode to \(24, 20\), and the header says 20 x 24"
    ):
        load_stack(series.stacks[0])


def test_messages_hold_no_identifier(tmp_path: Path) -> None:
    """Not the patient's name and number, and no file name: exports carry names there."""
    for n, (arguments, _, _) in enumerate(FAULTS.values()):
        write_mr_series(
            tmp_path / str(n),
            phantom(),
            axial_affine(),
            series_number=n + 1,
            prefix="SECRET",
            PatientName="Secret^Sam",
            PatientID="SECRET-1",
            **arguments,
        )
    for series in read_study(tmp_path).series:
        assert "secret" not in f"{series.reason} {series.warnings}".lower()


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_byte_in_a_header_never_gives_another_geometry(tmp_path: Path, seed: int) -> None:
    """Any one byte of any one header: the series is refused, or its grid is the true one."""
    rng = np.random.default_rng(seed)
    array, affine = phantom((6, 5, 5)), oblique_affine()
    paths = write_mr_series(tmp_path, array, affine)
    path = paths[int(rng.integers(0, 5))]
    data = bytearray(path.read_bytes())
    start, end = 132, len(data) - 6 * 5 * 2 - 12
    data[int(rng.integers(start, end))] = int(rng.integers(0, 256))
    path.write_bytes(bytes(data))
    try:
        study = read_study(tmp_path)
    except AcuityError:
        return
    for series in study.series:
        for stack in series.stacks:
            assert stack.grid.shape == (6, 5, 5)
            corners = np.array([[0, 0, 0, 1], [5, 4, 4, 1], [5, 0, 0, 1], [0, 4, 0, 1]]).T
            np.testing.assert_allclose(stack.grid.affine @ corners, affine @ corners, atol=0.25)
