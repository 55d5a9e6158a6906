"""Pixels whose header says more than their values: inverted, padded, in upper bits, or not as the other slices say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import RLELossless

from acuity.dicom.reading.read import load_stack, read_study
from acuity.errors import UnreadablePixelsError
from tests.dicom_builder import apply_header, axial_affine, phantom, uid, write_enhanced_mr, write_mr_series

VALUES = phantom((24, 20, 5))


def stored(ds: Dataset, values: NDArray[Any]) -> None:
    ds.PixelData = values.astype("<i2" if ds.PixelRepresentation else "<u2").tobytes()


def read(folder: Path) -> NDArray[np.float32]:
    (series,) = read_study(folder).series
    assert series.verdict == "ok", series.reason
    return load_stack(series.stacks[0]).array


@pytest.mark.parametrize("enhanced", [False, True])
def test_the_least_value_of_monochrome1_is_white(tmp_path: Path, enhanced: bool) -> None:
    """Air is dark again, and differences keep their size."""
    inverted = 2500 - VALUES
    if enhanced:
        write_enhanced_mr(tmp_path / "1.dcm", [inverted], axial_affine(), PhotometricInterpretation="MONOCHROME1")
    else:
        write_mr_series(tmp_path, inverted, axial_affine(), PhotometricInterpretation="MONOCHROME1")
    expected = VALUES.astype(np.int64) - int(VALUES.min())
    np.testing.assert_array_equal(read(tmp_path), expected)


@pytest.mark.parametrize(
    ("vr", "value", "limit", "in_pixels"),
    [("SS", -2000, None, -2000), ("US", 63536, None, -2000), ("SS", -2000, -1990, -1995), ("US", 5, None, 5)],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_background(
    tmp_path: Path, photometric: str, vr: str, value: int, limit: int | None, in_pixels: int
) -> None:
    inverted = photometric == "MONOCHROME1"
    image = VALUES.astype(np.int64) + 100
    outside = np.zeros(image.shape, dtype=bool)
    outside[:4] = True
    image[outside] = image[~outside].min()

    def edit(ds: Dataset, k: int) -> None:
        values = 3000 - image[:, :, k] if inverted else image[:, :, k].copy()
        values[outside[:, :, k]] = in_pixels
        ds.PixelRepresentation = int(in_pixels < 0)
        stored(ds, values.T)
        ds.add_new("PixelPaddingValue", vr, value)
        if limit is not None:
            ds.add_new("PixelPaddingRangeLimit", vr, limit)
        ds.PhotometricInterpretation = photometric

    write_mr_series(tmp_path, VALUES, axial_affine(), edit=edit)
    base = int(image.min()) if inverted else 0
    expected = image - base
    expected[outside] = 0 if inverted else image[~outside].min()
    np.testing.assert_array_equal(read(tmp_path), expected)


@pytest.mark.parametrize(
    ("bits", "high", "signed"), [(12, 15, False), (12, 14, False), (12, 15, True), (12, 11, False)]
)
def test_values_in_upper_bits_are_moved_down(tmp_path: Path, bits: int, high: int, signed: bool) -> None:
    values = VALUES.astype(np.int64) - (1000 if signed else 0)

    def edit(ds: Dataset, k: int) -> None:
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, high, int(signed)
        raw = (values[:, :, k].T << (high + 1 - bits)).astype(np.uint64).astype(np.uint16)
        ds.PixelData = raw.astype("<u2").tobytes()

    write_mr_series(tmp_path, VALUES, axial_affine(), edit=edit)
    np.testing.assert_array_equal(read(tmp_path), values)


def test_a_high_bit_that_the_values_contradict_is_refused(tmp_path: Path) -> None:
    write_mr_series(tmp_path, VALUES, axial_affine(), BitsStored=12, HighBit=15)
    (series,) = read_study(tmp_path).series
    with pytest.raises(UnreadablePixelsError, match="slice 1 use bits below"):
        load_stack(series.stacks[0])


def test_compressed_pixels_are_never_in_upper_bits(tmp_path: Path) -> None:
    write_mr_series(tmp_path, VALUES, axial_affine(), BitsStored=12, HighBit=15, transfer_syntax=RLELossless)
    (series,) = read_study(tmp_path).series
    assert (series.code, "have the high bit 15" in series.reason) == ("unsupported-series", True)


@pytest.mark.parametrize("k", [0, 2, 4])
@pytest.mark.parametrize(
    "header",
    [
        {"BitsStored": 8, "HighBit": 7},
        {"BitsStored": 15, "HighBit": 14},
        {"BitsStored": 12, "HighBit": 15},
        {"PixelRepresentation": 1},
        {"PhotometricInterpretation": "MONOCHROME1"},
    ],
    ids=lambda header: " ".join(header),
)
def test_slices_that_disagree_in_how_their_bits_are_read(tmp_path: Path, header: dict[str, Any], k: int) -> None:
    def edit(ds: Dataset, index: int) -> None:
        if index == k:
            apply_header(ds, header)

    write_mr_series(tmp_path, VALUES, axial_affine(), edit=edit)
    (series,) = read_study(tmp_path).series
    assert series.code == "inconsistent-headers"
    assert any(keyword in series.reason for keyword in header)


@pytest.mark.parametrize("header", [{"BitsStored": 17}, {"BitsStored": 0}, {"HighBit": 16}, {"HighBit": 3}])
def test_bits_that_do_not_fit_are_refused(tmp_path: Path, header: dict[str, Any]) -> None:
    write_mr_series(tmp_path, VALUES, axial_affine(), **header)
    (series,) = read_study(tmp_path).series
    assert (series.code, "Stored bits lie within" in series.reason) == ("inconsistent-headers", True)


@pytest.mark.parametrize("slope", ["1e36", "1e-36", "-1e12"])
def test_slopes_of_no_scanner_are_refused(tmp_path: Path, slope: str) -> None:
    write_mr_series(tmp_path, VALUES, axial_affine(), RescaleSlope=slope, RescaleIntercept="0")
    (series,) = read_study(tmp_path).series
    assert (series.code, "RescaleSlope is" in series.reason) == ("inconsistent-headers", True)


def test_an_intercept_that_drowns_the_image_is_refused(tmp_path: Path) -> None:
    write_mr_series(tmp_path, VALUES, axial_affine(), RescaleSlope="1", RescaleIntercept="5.4e8")
    assert read_study(tmp_path).series[0].code == "inconsistent-headers"


def test_slopes_that_differ_by_much_are_told(tmp_path: Path) -> None:
    def edit(ds: Dataset, k: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = "9" if k == 2 else "1", "0"

    write_mr_series(tmp_path, VALUES, axial_affine(), edit=edit)
    (series,) = read_study(tmp_path).series
    assert series.warnings == ("RescaleSlope differs between slices, from 1 to 9; each is used.",)


@pytest.mark.parametrize("count", [1, 2, 17, 100])
@pytest.mark.parametrize("fill", [b"\0", b"\x5a"])
@pytest.mark.parametrize("place", ["in the pixels", "at the end"])
def test_bytes_too_many_refuse_a_series(tmp_path: Path, place: str, fill: bytes, count: int) -> None:
    """Inserted into the pixels they shift the rest; that the element ends in time does not show it."""
    path = write_mr_series(tmp_path, VALUES, axial_affine())[2]
    data = path.read_bytes()
    at = len(data) - (0 if place == "at the end" else 2 * 20 * 12)
    path.write_bytes(data[:at] + fill * count + data[at:])
    (series,) = read_study(tmp_path).series
    assert series.code == "unreadable-pixels"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", RLELossless])
def test_elements_after_the_pixels_are_no_surplus(tmp_path: Path, syntax: str) -> None:
    def edit(ds: Dataset, k: int) -> None:
        ds.add_new(0xFFFCFFFC, "OB", b"\0" * 130)  # Data Set Trailing Padding

    write_mr_series(tmp_path, VALUES, axial_affine(), edit=edit, transfer_syntax=syntax)
    np.testing.assert_array_equal(read(tmp_path), VALUES)


@pytest.mark.parametrize("change", [2, -2, 480, 100000])
def test_a_pixel_length_that_is_not_the_image_s(tmp_path: Path, change: int) -> None:
    def edit(ds: Dataset, k: int) -> None:
        if k == 2:
            ds.PixelData = ds.PixelData[:change] if change < 0 else ds.PixelData + b"\0" * change

    write_mr_series(tmp_path, VALUES, axial_affine(), edit=edit)
    assert read_study(tmp_path).series[0].code == "unreadable-pixels"


def test_a_size_that_pixels_do_not_have_takes_no_memory(tmp_path: Path) -> None:
    for path in write_mr_series(tmp_path, VALUES, axial_affine((0.05, 0.05, 3)), transfer_syntax=RLELossless):
        ds = pydicom.dcmread(path)
        ds.Rows = ds.Columns = 11000
        ds.save_as(path)
    for series in read_study(tmp_path).series:
        for stack in series.stacks:
            with pytest.raises(UnreadablePixelsError):
                load_stack(stack)


@pytest.mark.parametrize("value", [None, "", "no uid"])
def test_an_image_that_nothing_could_refer_to_is_refused(tmp_path: Path, value: str | None) -> None:
    path = write_mr_series(tmp_path / "bad", VALUES, axial_affine())[2]
    write_mr_series(tmp_path / "good", VALUES, axial_affine(), name="good", series_number=2, series_uid=uid("good"))
    ds = pydicom.dcmread(path)
    if value is None:
        del ds.SOPInstanceUID
    else:
        with pydicom.config.disable_value_validation():
            ds.SOPInstanceUID = value
    ds.save_as(path)
    bad, good = read_study(tmp_path).series
    assert (bad.code, good.code) == ("inconsistent-headers", "ok")
    assert "SOPInstanceUID is absent or no UID" in bad.reason
