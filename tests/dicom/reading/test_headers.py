"""Header values, sound, absent, empty, corrupt and made up: strict reading refuses, quiet reading passes over."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from acuity.dicom.reading import headers
from acuity.dicom.reading.headers import Header
from acuity.dicom.reading.scan import scan_of
from acuity.dicom.reading.study import Series
from acuity.dicom.reading.traits import classic_traits
from acuity.errors import InconsistentHeadersError
from tests.dicom_builder import dataset

DAY = 86400.0


def corrupt(keyword: str, vr: str, data: bytes) -> Dataset:
    """A dataset whose element holds bytes that are no value of its type, as a damaged file gives it."""
    ds = Dataset()
    tag = Tag(keyword)
    ds[tag] = RawDataElement(tag, vr, len(data), data, 0, False, True)
    return ds


@pytest.mark.parametrize(("keyword", "vr", "data"), [("Rows", "US", b"\0"), ("DiffusionBValue", "FD", b"12345")])
def test_bytes_that_are_no_value_are_refused_or_passed_over(keyword: str, vr: str, data: bytes) -> None:
    ds = corrupt(keyword, vr, data)
    for read in (headers.read_value, headers.number):
        with pytest.raises(InconsistentHeadersError, match=f"{keyword} holds no valid value. Every header"):
            read(ds, keyword)
    assert headers.quiet_value(ds, keyword) is Header(ds).get(keyword) is None
    assert headers.quiet_text(ds, keyword) == ""


@pytest.mark.parametrize("data", [b"12.?", b"\xff\xfe  ", b"x\\12 "])
def test_text_that_is_no_number_is_refused_or_passed_over(data: bytes) -> None:
    ds = corrupt("EchoTime", "DS", data)
    with pytest.raises(InconsistentHeadersError, match="EchoTime is not a finite number"):
        headers.number(ds, "EchoTime")
    assert Header(ds).positive("EchoTime") is None
    assert classic_traits(ds) == {}


@pytest.mark.parametrize(("ds", "keyword"), [(dataset(), "EchoTime"), (dataset(EchoTime=""), "EchoTime")])
def test_absent_and_empty_values_are_none(ds: Dataset, keyword: str) -> None:
    assert headers.read_value(ds, keyword) is headers.quiet_value(ds, keyword) is headers.number(ds, keyword) is None
    assert headers.to_numbers(headers.read_value(ds, keyword), keyword, 3) is None
    assert (headers.quiet_text(ds, keyword), Header(ds).text(keyword), Header(ds).words(keyword)) == (
        "",
        "",
        frozenset(),
    )


@pytest.mark.parametrize(
    ("value", "count", "message"),
    [
        (["1", "2"], 3, "PixelSpacing is not 3 finite numbers"),
        ([1.0, float("nan")], 2, "not 2 finite numbers"),
        (["1", "inf"], None, "not a finite number"),
        (["1", "x"], None, "not a finite number"),
        (object(), None, "not a finite number"),
    ],
)
def test_geometry_is_made_of_finite_numbers(value: Any, count: int | None, message: str) -> None:
    with pytest.raises(InconsistentHeadersError, match=message):
        headers.to_numbers(value, "PixelSpacing", count)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12", 12.0),
        (["7.5", "8"], 7.5),
        (0, 0.0),
        (-3.5, -3.5),
        (b"1000\\8 \0", 1000.0),
        (b"\x01\0", None),
        (None, None),
        ("", None),
        ([], None),
        ("fast", None),
        ("nan", None),
        (float("inf"), None),
        (Dataset(), None),
    ],
)
def test_quiet_numbers(value: Any, expected: float | None) -> None:
    assert headers.quiet_number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, []), ("", []), ("SE", ["SE"]), (["SE", "IR"], ["SE", "IR"]), (0, [0]), (b"a", [b"a"])],
)
def test_values_of_an_element(value: Any, expected: list[Any]) -> None:
    assert headers.values_of(value) == expected


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("00010101", "000000", DAY),
        ("", "000000", DAY),
        ("", "1015", DAY + 36900),
        ("", "10150", DAY + 36900),
        ("", "101502", DAY + 36902),
        ("", "101502.", DAY + 36902),
        ("", "101502.25", DAY + 36902.25),
        ("", "101502.1234567", DAY + 36902.123456),
        ("", "10:15:02.5", DAY + 36902.5),
        ("", " 101502 ", DAY + 36902),
        ("", "101502.5+0100", DAY + 36902.5),
        ("", "101502-0500", DAY + 36902),
        ("00010102", "235959.999999", 3 * DAY - 1e-6),
        ("0001.03.01", "0000", 60 * DAY),
        ("20200301", "0000", 737485 * DAY),
        ("", "", None),
        ("20200301", "", None),
        ("", "10", None),
        ("", "2460", None),
        ("", "1060", None),
        ("", "noon", None),
        ("", "101502.x", None),
        ("00000000", "101502", None),
        ("20200230", "101502", None),
        ("20201301", "101502", None),
        ("2020", "101502", None),
        ("yesterday", "101502", None),
    ],
)
def test_seconds_of_a_date_and_a_time(date: str, time: str, expected: float | None) -> None:
    found = headers.seconds(date, time)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-7, rel=1e-15))


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("20200102", 737426 * DAY + 36900),
        ("00000000", DAY + 36900),
        ("20200000", DAY + 36900),
        ("2020.00.00", DAY + 36900),
        ("", DAY + 36900),
        ("20200230", None),
        ("2020", None),
    ],
)
def test_only_volumes_of_one_series_are_told_apart_by_a_time_without_a_date(date: str, expected: float | None) -> None:
    """A date of zeros is an anonymizer's filler. Between series, such dates do not tell which was the first."""
    ds = dataset(AcquisitionDate=date, AcquisitionTime="1015")
    assert classic_traits(ds).get("AcquisitionTime") == expected
    acquired = scan_of(Series("1", "", "MR", "refused", "", "", datasets=(ds,))).acquired
    assert acquired == (expected if date in ("20200102", "") else None)


def in_groups(**levels: Dataset) -> Dataset:
    """An enhanced image of two frames, whose macros are given by level: own (of frame 1), shared, top."""
    ds = levels.get("top", Dataset())
    ds.SharedFunctionalGroupsSequence = [
        dataset(MREchoSequence=[levels["shared"]]) if "shared" in levels else Dataset()
    ]
    own = dataset(MREchoSequence=[levels["own"]]) if "own" in levels else Dataset()
    ds.PerFrameFunctionalGroupsSequence = [Dataset(), own]
    return ds


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({"own": 1.0, "shared": 2.0, "top": 3.0}, (1.0, 2.0)),
        ({"shared": 2.0, "top": 3.0}, (2.0, 2.0)),
        ({"top": 3.0}, (3.0, 3.0)),
        ({"own": 1.0}, (1.0, None)),
        ({"own": None, "shared": 2.0}, (2.0, 2.0)),
        ({}, (None, None)),
    ],
)
def test_a_frame_s_own_value_comes_before_the_shared_one_and_that_before_the_top(
    levels: dict[str, float | None], expected: tuple[float | None, float | None]
) -> None:
    ds = in_groups(**{level: dataset(EchoTime=value) for level, value in levels.items()})
    for frame, value in zip((1, 0), expected, strict=True):
        assert headers.frame_value(ds, frame, "MREchoSequence", "EchoTime") == value
        assert Header(ds, frame).get("EchoTime") == value
    assert headers.frame_value(ds, None, "MREchoSequence", "EchoTime") == levels.get("top")
    with pytest.raises(IndexError):
        headers.functional_groups(ds, 2)


def test_corrupt_functional_groups_leave_the_top_level() -> None:
    ds = corrupt("SharedFunctionalGroupsSequence", "SQ", b"\xfe\xff\x00\xe0\x08")
    ds.EchoTime = 12
    assert Header(ds).positive("EchoTime") == 12
    with pytest.raises(InconsistentHeadersError, match="SharedFunctionalGroupsSequence"):
        headers.frame_value(ds, 0, "MREchoSequence", "EchoTime")


@pytest.mark.parametrize(("value", "expected"), [("12", 12.0), ("0", None), ("-1", None), ("", None)])
def test_positive_numbers(value: str, expected: float | None) -> None:
    assert Header(dataset(RepetitionTime=value)).positive("EffectiveEchoTime", "RepetitionTime") == expected
