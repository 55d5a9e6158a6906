"""Several volumes at the same positions: told apart by what they are, or refused. Enhanced multi-frame images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, config

from acuity.dicom.reading.geometry import cluster
from acuity.dicom.reading.read import load_stack
from acuity.dicom.reading.study import Series
from tests.dicom_builder import Edit, axial_affine, oblique_affine, phantom, uid, write_enhanced_mr, write_mr_series
from tests.dicom_reader import only_series

SERIES_UID = uid("several volumes")


def write_volumes(folder: Path, headers: list[dict[str, Any]], **common: Any) -> None:
    """One series of classic images that holds a volume for each header; the n-th has seed n."""
    for n, header in enumerate(headers):
        write_mr_series(
            folder,
            phantom(seed=n),
            oblique_affine(),
            series_uid=SERIES_UID,
            first_instance=1 + 100 * n,
            **{**common, **header},
        )


def write_volume(folder: Path, n: int, edit: Edit) -> None:
    """The n-th volume of the same series, each slice of it edited."""
    write_mr_series(
        folder, phantom(seed=n), oblique_affine(), series_uid=SERIES_UID, first_instance=1 + 100 * n, edit=edit
    )


def assert_volumes(series: Series, attributes: list[dict[str, Any]]) -> None:
    assert series.verdict == "ok", series.reason
    assert [stack.attributes for stack in series.stacks] == attributes
    for n, stack in enumerate(series.stacks):
        volume = load_stack(stack)
        np.testing.assert_array_equal(volume.array, phantom(seed=n))
        np.testing.assert_allclose(volume.affine, oblique_affine(), atol=1e-6)


# What differs between the volumes of a series, and the attributes by which the stacks are told apart.
CLASSIC: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "echo time": ([{"EchoTime": "12"}, {"EchoTime": "96"}], [{"EchoTime": 12.0}, {"EchoTime": 96.0}]),
    "echo number": ([{"EchoNumbers": "1"}, {"EchoNumbers": "2"}], [{"EchoNumbers": 1.0}, {"EchoNumbers": 2.0}]),
    "inversion time": (
        [{"InversionTime": "700"}, {"InversionTime": "2500"}],
        [{"InversionTime": 700.0}, {"InversionTime": 2500.0}],
    ),
    "flip angle": ([{"FlipAngle": "5"}, {"FlipAngle": "20"}], [{"FlipAngle": 5.0}, {"FlipAngle": 20.0}]),
    "b-value": (
        [{"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}],
        [{"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}],
    ),
    "time point": (
        [{"TemporalPositionIdentifier": n} for n in (1, 2, 3)],
        [{"TemporalPositionIdentifier": float(n)} for n in (1, 2, 3)],
    ),
    "acquisition number": ([{"AcquisitionNumber": n} for n in (1, 2)], [{"AcquisitionNumber": n} for n in (1.0, 2.0)]),
    "acquisition time": (
        [{"AcquisitionTime": "101500"}, {"AcquisitionTime": "101700.5"}],
        [{"AcquisitionTime": "101500.000000"}, {"AcquisitionTime": "101700.500000"}],
    ),
    "acquisition time, filler date": (
        [{"AcquisitionDate": "00000000", "AcquisitionTime": time} for time in ("101500", "101700")],
        [{"AcquisitionTime": "101500.000000"}, {"AcquisitionTime": "101700.000000"}],
    ),
    "midnight": (
        [
            {"AcquisitionDate": "20200131", "AcquisitionTime": "235959"},
            {"AcquisitionDate": "20200201", "AcquisitionTime": "000130"},
        ],
        [{"AcquisitionTime": "235959.000000"}, {"AcquisitionTime": "000130.000000"}],
    ),
    "trigger time": ([{"TriggerTime": "50"}, {"TriggerTime": "350"}], [{"TriggerTime": 50.0}, {"TriggerTime": 350.0}]),
    "magnitude and phase": (
        [{"ImageType": ["ORIGINAL", "PRIMARY", kind, "SE"]} for kind in "MP"],
        [{"ImageType": r"ORIGINAL\PRIMARY\M\SE"}, {"ImageType": r"ORIGINAL\PRIMARY\P\SE"}],
    ),
    "component": (
        [{"ComplexImageComponent": "MAGNITUDE"}, {"ComplexImageComponent": "PHASE"}],
        [{"ComplexImageComponent": "MAGNITUDE"}, {"ComplexImageComponent": "PHASE"}],
    ),
    "echo and acquisition": (
        [{"EchoTime": te, "AcquisitionNumber": n} for te in ("12", "96") for n in (1, 2)],
        [{"EchoTime": te, "AcquisitionNumber": n} for te in (12.0, 96.0) for n in (1.0, 2.0)],
    ),
}


@pytest.mark.parametrize("difference", CLASSIC)
def test_volumes_are_told_apart(tmp_path: Path, difference: str) -> None:
    headers, attributes = CLASSIC[difference]
    with config.disable_value_validation():  # a date of zeros
        write_volumes(tmp_path, headers)
    assert_volumes(only_series(tmp_path), attributes)


def write_times(folder: Path, volumes: int, time: Callable[[int, int], str]) -> None:
    """Volumes in which each slice has a time of its own, as in a 2D acquisition: ``time`` of volume and slice."""
    for n in range(volumes):

        def own_time(ds: Dataset, k: int, n: int = n) -> None:
            ds.AcquisitionTime = time(n, k)

        write_volume(folder, n, own_time)


def test_slices_acquired_one_by_one_are_told_by_the_order_of_their_times(tmp_path: Path) -> None:
    write_times(tmp_path, 3, lambda n, k: f"10{15 + n:02d}{(7 * k) % 12 * 4:02d}")
    assert_volumes(only_series(tmp_path), [{"AcquisitionTime": f"10{15 + n}00.000000"} for n in range(3)])


TIMES: dict[str, Callable[[int, int], str]] = {
    "interleaved": lambda n, k: f"1015{2 * k + n:02d}",
    "the last of one and the first of the next at one time": lambda n, k: f"1015{k + 11 * n:02d}",
    "one slice without a time": lambda n, k: "x" if k == 3 else f"10{n}500",
}


@pytest.mark.parametrize("times", TIMES)
def test_times_that_do_not_divide_the_series_tell_nothing_apart(tmp_path: Path, times: str) -> None:
    with config.disable_value_validation():
        write_times(tmp_path, 2, TIMES[times])
    assert only_series(tmp_path).code == "duplicate-positions"


@pytest.mark.parametrize(
    ("creator", "group", "element", "vr", "values", "trait", "expected"),
    [
        ("SIEMENS MR HEADER", 0x0019, 0x0C, "IS", ("0", "1000"), "DiffusionBValue", (0.0, 1000.0)),
        ("Philips Imaging DD 001", 0x2001, 0x03, "FL", (0.0, 800.0), "DiffusionBValue", (0.0, 800.0)),
        ("GEMS_PARM_01", 0x0043, 0x39, "IS", ([0, 8, 0], [1000001000, 8, 0]), "DiffusionBValue", (0.0, 1000.0)),
        ("GEMS_PARM_01", 0x0043, 0x2F, "SS", (0, 1), "ComplexImageComponent", ("MAGNITUDE", "PHASE")),
        ("GEMS_PARM_01", 0x0043, 0x2F, "SS", (3, 2), "ComplexImageComponent", ("IMAGINARY", "REAL")),
    ],
)
def test_private_values_of_the_vendors(
    tmp_path: Path,
    creator: str,
    group: int,
    element: int,
    vr: str,
    values: tuple[Any, ...],
    trait: str,
    expected: tuple[Any, ...],
) -> None:
    for n, value in enumerate(values):

        def add(ds: Dataset, _: int, value: Any = value) -> None:
            ds.private_block(group, creator, create=True).add_new(element, vr, value)

        write_volume(tmp_path, n, add)
    assert_volumes(only_series(tmp_path), [{trait: value} for value in expected])


def test_volumes_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    write_volumes(tmp_path, [{}, {}])
    series = only_series(tmp_path)
    assert (series.code, series.stacks) == ("duplicate-positions", ())
    assert "At 12 of 12 positions there are several images (up to 2)." in series.reason


def test_one_image_sent_twice_under_two_names_is_refused(tmp_path: Path) -> None:
    write_volumes(tmp_path, [{}, {"skip": set(range(12)) - {4}}])
    series = only_series(tmp_path)
    assert series.code == "duplicate-positions"
    assert "At 1 of 12 positions" in series.reason


@pytest.mark.parametrize("lost", [0, 5, 11])
def test_an_echo_that_lacks_a_slice_is_refused(tmp_path: Path, lost: int) -> None:
    """At an end too: the other echo shows where it should be."""
    write_volumes(tmp_path, [{"EchoTime": "12"}, {"EchoTime": "96", "skip": (lost,)}])
    series = only_series(tmp_path)
    assert (series.code, series.stacks) == ("missing-slice", ())
    assert "At 1 of 12 positions there are fewer images than the 2 of the others." in series.reason


def test_echoes_at_alternating_positions_are_no_volume(tmp_path: Path) -> None:
    write_volumes(tmp_path, [{"EchoTime": "12", "skip": range(0, 12, 2)}, {"EchoTime": "96", "skip": range(1, 12, 2)}])
    series = only_series(tmp_path)
    assert series.code == "inconsistent-headers"
    assert "EchoTime differs" in series.reason


def test_positions_are_clustered_by_distance() -> None:
    places, count = cluster(np.array([3.0, 0.0, 3.004, 6.0, -0.001]))
    assert (places, count) == ([1, 0, 1, 2, 0], 3)


def enhanced(path: Path, volumes: int = 1, **arguments: Any) -> Path:
    return write_enhanced_mr(
        path / "enhanced.dcm", [phantom(seed=n) for n in range(volumes)], oblique_affine(), **arguments
    )


def test_enhanced_geometry_and_values(tmp_path: Path) -> None:
    series = only_series(enhanced(tmp_path))
    assert_volumes(series, [{}])
    assert series.stacks[0].frames == tuple(range(12))
    assert len(load_stack(series.stacks[0]).source_images) == 1


def test_enhanced_frames_in_any_order(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(12).tolist()
    series = only_series(enhanced(tmp_path, order=order))
    assert_volumes(series, [{}])
    assert series.stacks[0].frames == tuple(int(x) for x in np.argsort(order))


def test_enhanced_rescale_of_each_frame(tmp_path: Path) -> None:
    slopes = [0.5, 2.0] * 6
    array = phantom() * 2
    write_enhanced_mr(tmp_path / "e.dcm", [array], oblique_affine(), slopes=slopes)
    np.testing.assert_allclose(load_stack(only_series(tmp_path).stacks[0]).array, array)


@pytest.mark.parametrize(
    ("frames", "attributes"),
    [
        ([{"EchoTime": 12.0}, {"EchoTime": 96.0}], [{"EchoTime": 12.0}, {"EchoTime": 96.0}]),
        (
            [{"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}],
            [{"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}],
        ),
        (
            [{"TemporalPositionIndex": 1}, {"TemporalPositionIndex": 2}],
            [{"TemporalPositionIndex": 1.0}, {"TemporalPositionIndex": 2.0}],
        ),
    ],
)
def test_enhanced_volumes_are_told_apart(tmp_path: Path, frames: list[dict], attributes: list[dict]) -> None:
    order = np.arange(24).reshape(2, 12).T.ravel().tolist()  # both volumes of a position, then the next position
    series = only_series(enhanced(tmp_path, 2, frames=frames, order=order))
    assert_volumes(series, attributes)
    assert {len(stack.datasets) for stack in series.stacks} == {1}


def test_enhanced_volumes_told_apart_by_a_declared_dimension(tmp_path: Path) -> None:
    def declare(ds: Dataset) -> None:
        ds.DimensionIndexSequence = [Dataset() for _ in range(3)]
        for item, tag in zip(ds.DimensionIndexSequence, (0x00209056, 0x00209057, 0x00189152), strict=True):
            item.DimensionIndexPointer = tag

    series = only_series(enhanced(tmp_path, 2, edit=declare))
    assert_volumes(series, [{"DimensionIndexValues[2]": 1}, {"DimensionIndexValues[2]": 2}])


def test_enhanced_volumes_that_nothing_tells_apart(tmp_path: Path) -> None:
    assert only_series(enhanced(tmp_path, 2)).code == "duplicate-positions"


def test_enhanced_with_a_missing_frame(tmp_path: Path) -> None:
    series = only_series(enhanced(tmp_path, skip=(6,)))
    assert series.code == "missing-slice"
    assert "between frame 6 and frame 7" in series.reason


def test_enhanced_whose_frames_are_not_all_described(tmp_path: Path) -> None:
    series = only_series(enhanced(tmp_path, edit=lambda ds: ds.PerFrameFunctionalGroupsSequence.pop()))
    assert series.code == "inconsistent-headers"
    assert "12 frames describes 11" in series.reason


def test_enhanced_without_positions(tmp_path: Path) -> None:
    def strip(ds: Dataset) -> None:
        for item in ds.PerFrameFunctionalGroupsSequence:
            del item.PlanePositionSequence

    assert only_series(enhanced(tmp_path, edit=strip)).code == "no-geometry"


def test_enhanced_that_is_cut_short(tmp_path: Path) -> None:
    path = enhanced(tmp_path)
    path.write_bytes(path.read_bytes()[:-600])
    assert only_series(tmp_path).code == "unreadable-pixels"


def test_an_enhanced_file_for_each_echo(tmp_path: Path) -> None:
    for n, echo in enumerate((12.0, 96.0)):
        write_enhanced_mr(
            tmp_path / f"{n}.dcm",
            [phantom(seed=n)],
            oblique_affine(),
            frames=[{"EchoTime": echo}],
            series_uid=SERIES_UID,
        )
    assert_volumes(only_series(tmp_path), [{"EchoTime": 12.0}, {"EchoTime": 96.0}])


def test_a_volume_spread_over_several_enhanced_files(tmp_path: Path) -> None:
    for n, skip in enumerate((range(6), range(6, 12))):
        write_enhanced_mr(tmp_path / f"{n}.dcm", [phantom()], axial_affine(), skip=skip, series_uid=SERIES_UID)
    series = only_series(tmp_path)
    assert series.code == "unsupported-series"
    assert "spread over several multi-frame files" in series.reason
