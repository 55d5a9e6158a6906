"""Headers of classic and enhanced MR become the same values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from acuity.dicom.reading.read import read_study
from acuity.dicom.reading.scan import Scan, scan_of
from acuity.dicom.reading.study import Series
from tests.dicom_builder import axial_affine, dataset, oblique_affine, phantom, write_enhanced_mr, write_mr_series
from tests.hospital import MPRAGE, SAGITTAL


def read_scans(folder: Path) -> list[Scan]:
    return [scan_of(series, stack) for series in read_study(folder).series for stack in series.stacks]


def header_scan(**header: Any) -> Scan:
    return scan_of(Series("1", "", "MR", "refused", "missing-slice", "", datasets=(dataset(**header),)))


def test_classic(tmp_path: Path) -> None:
    header = {**MPRAGE, "SequenceName": "*tfl3d1", "ContrastBolusAgent": "Gadovist"}
    write_mr_series(
        tmp_path,
        phantom(),
        axial_affine(),
        name="Ax_T1",
        series_number=7,
        AcquisitionDate="20200102",
        AcquisitionTime="101502.5",
        **header,
    )
    (found,) = read_scans(tmp_path)
    assert found.scanning_sequence == {"GR", "IR"}
    assert (found.repetition_time, found.echo_time, found.inversion_time, found.flip_angle) == (2000, 2.5, 900, 8)
    assert (found.description, found.number, found.sequence_name, found.slices) == ("Ax_T1", 7, "*tfl3d1", 12)
    assert (found.agent, found.plane, found.body_part) == ("Gadovist", "axial", "BRAIN")
    assert found.acquired is not None and found.acquired % 86400 == pytest.approx(10 * 3600 + 15 * 60 + 2.5)
    assert found.timing() == "GR/IR, TR 2000, TE 2.5, TI 900 ms"


def test_enhanced_values_come_from_functional_groups(tmp_path: Path) -> None:
    def edit(ds: Dataset) -> None:
        timing = dataset(RepetitionTime=9000.0, FlipAngle=150.0)
        ds.SharedFunctionalGroupsSequence[0].MRTimingAndRelatedParametersSequence = [timing]
        ds.EchoPulseSequence, ds.EchoPlanarPulseSequence = "SPIN", "NO"
        ds.PulseSequenceName, ds.AcquisitionContrast = "TIR", "FLUID_ATTENUATED"
        for group in ds.PerFrameFunctionalGroupsSequence:
            group.MRModifierSequence[0].InversionRecovery = "YES"

    write_enhanced_mr(
        tmp_path / "e.dcm",
        [phantom()],
        axial_affine(),
        edit=edit,
        frames=[{"EchoTime": 120.0, "InversionTime": 2500.0}],
    )
    (found,) = read_scans(tmp_path)
    assert found.scanning_sequence == {"SE", "IR"}
    assert (found.repetition_time, found.echo_time, found.inversion_time) == (9000, 120, 2500)
    assert found.contrast == {"FLUID_ATTENUATED"}
    assert found.sequence_name == "TIR"


@pytest.mark.parametrize(
    ("expected", "header"),
    [
        ("SE IR", {"ScanningSequence": ["SE", "ir "], "EchoPulseSequence": "GRADIENT"}),
        ("SE", {"EchoPulseSequence": "SPIN"}),
        ("GR", {"EchoPulseSequence": "gradient"}),
        ("SE GR", {"EchoPulseSequence": "BOTH", "InversionRecovery": "NO"}),
        ("SE EP", {"EchoPulseSequence": "SPIN", "EchoPlanarPulseSequence": "YES"}),
        ("IR", {"InversionRecovery": "YES", "EchoPlanarPulseSequence": "NO"}),
        ("", {"EchoPulseSequence": "OTHER"}),
        ("", {}),
    ],
)
def test_scanning_sequence(expected: str, header: dict[str, Any]) -> None:
    assert header_scan(**header).scanning_sequence == set(expected.split())


@pytest.mark.parametrize(
    ("expected", "header"),
    [
        ("SK MP", {"SequenceVariant": ["SK", "MP"]}),
        ("SP", {"Spoiling": "RF"}),
        ("SP", {"SequenceVariant": "SP", "Spoiling": "RF"}),
        ("SS", {"SteadyStatePulseSequence": "TIME_REVERSED"}),
        ("SK", {"SegmentedKSpaceTraversal": "PARTIAL"}),
        ("MTC", {"MagnetizationTransfer": "ON_RESONANCE"}),
        ("SK TOF", {"SequenceVariant": "SK", "AngioFlag": "Y"}),
        ("TOF", {"TimeOfFlightContrast": "YES"}),
        ("PC", {"PhaseContrast": "YES"}),
        ("", dict.fromkeys(("Spoiling", "SteadyStatePulseSequence", "MagnetizationTransfer"), "NONE")),
        ("", {"SegmentedKSpaceTraversal": "SINGLE", "AngioFlag": "N", "TimeOfFlightContrast": "NO"}),
        ("", {"PhaseContrast": "NO", "Spoiling": "", "SegmentedKSpaceTraversal": ""}),
    ],
)
def test_sequence_variant(expected: str, header: dict[str, Any]) -> None:
    assert header_scan(**header).sequence_variant == set(expected.split())


@pytest.mark.parametrize(
    ("field", "keyword", "value"),
    [
        ("scan_options", "ScanOptions", "FS"),
        ("image_type", "ImageType", "MIP"),
        ("image_type", "FrameType", "ADC"),
        ("image_type", "ComplexImageComponent", "PHASE"),
        ("contrast", "AcquisitionContrast", "DIFFUSION"),
    ],
)
def test_terms(field: str, keyword: str, value: str) -> None:
    assert getattr(header_scan(**{keyword: value}), field) == {value}
    assert header_scan(AcquisitionContrast="UNKNOWN").contrast == set()


def test_numbers() -> None:
    found = header_scan(DiffusionBValue=0.0, SeriesNumber="7", InversionTime="0", ProtocolName=" head ")
    assert (found.b_value, found.number, found.inversion_time, found.inversions) == (0.0, 7, None, 0)
    assert (found.description, found.stacks, found.derived) == ("head", 1, False)
    assert header_scan(ImageType=["DERIVED", "PRIMARY"]).derived


def test_each_echo_of_an_enhanced_object_has_its_own_echo_time(tmp_path: Path) -> None:
    write_enhanced_mr(
        tmp_path / "e.dcm",
        [phantom(seed=1), phantom(seed=2)],
        axial_affine(),
        frames=[{"EchoTime": 15.0}, {"EchoTime": 95.0}],
    )
    assert [found.echo_time for found in read_scans(tmp_path)] == [15.0, 95.0]
    assert [found.stacks for found in read_scans(tmp_path)] == [2, 2]


@pytest.mark.parametrize(
    ("expected", "header"),
    [
        ("Dotarem", {"ContrastBolusAgent": "Dotarem"}),
        ("NONE", {"ContrastBolusAgent": "NONE"}),
        ("no", {"ContrastBolusAgent": "no", "ContrastBolusVolume": "10"}),
        ("", {"ContrastBolusAgent": ""}),
        ("an agent", {"ContrastBolusAgentAdministered": "YES"}),
        ("NO", {"ContrastBolusAgentAdministered": "NO", "ContrastBolusAgent": "Dotarem"}),
        ("a coded agent", {"ContrastBolusAgentSequence": [Dataset()]}),
        ("Gadobutrol", {"ContrastBolusAgentSequence": [dataset(CodeMeaning="Gadobutrol")]}),
        ("7.5 ml of an agent", {"ContrastBolusVolume": "7.5"}),
        ("", {"ContrastBolusVolume": "0"}),
        ("an agent with a start time", {"ContrastBolusStartTime": "101500"}),
        ("", {}),
    ],
)
def test_contrast_agent(expected: str, header: dict[str, Any]) -> None:
    assert header_scan(**header).agent == expected


def test_an_agent_that_was_not_given_yet() -> None:
    """Enhanced MR names the agent of the examination before it is given."""
    group = dataset(ContrastBolusUsageSequence=[dataset(ContrastBolusAgentAdministered="NO")])
    agent = [dataset(CodeMeaning="Gadobutrol")]
    assert header_scan(ContrastBolusAgentSequence=agent, SharedFunctionalGroupsSequence=[group]).agent == "NO"


@pytest.mark.parametrize(
    "header",
    [
        {"AcquisitionDateTime": "20200102093000.25+0100"},
        {"AcquisitionDate": "20200102", "AcquisitionTime": "093000.25"},
        {"SeriesDate": "20200102", "AcquisitionTime": "093000.25", "SeriesTime": "080000"},
        {"StudyDate": "20200102", "SeriesTime": "093000.25"},
        {"ContentDate": "20200102", "ContentTime": "093000.25"},
    ],
)
def test_time_of_acquisition(header: dict[str, str]) -> None:
    first, later = header_scan(**header).acquired, header_scan(AcquisitionDateTime="20200103093000").acquired
    assert first is not None and later is not None
    assert later - first == pytest.approx(86400 - 0.25)


def test_the_earliest_slice_is_when_a_volume_was_acquired(tmp_path: Path) -> None:
    def edit(ds: Dataset, k: int) -> None:
        ds.AcquisitionTime = f"1015{(5 * k + 3) % 12:02d}"

    write_mr_series(tmp_path, phantom(), axial_affine(), edit=edit)
    (found,) = read_scans(tmp_path)
    assert found.acquired is not None and found.acquired % 60 == 0


def test_nothing_known_of_an_empty_header() -> None:
    found = header_scan()
    assert found.timing() == "no timing"
    assert (found.acquired, found.plane, found.slices) == (None, "", None)


def test_zero_times_are_missing_and_unreadable_ones_too() -> None:
    assert header_scan(EchoTime="0", RepetitionTime="0", InversionTime="0").timing() == "no timing"


def test_two_inversion_times_are_counted() -> None:
    group = dataset(MRModifierSequence=[dataset(InversionTimes=[3000.0, 450.0])])
    found = header_scan(SharedFunctionalGroupsSequence=[group])
    assert (found.inversions, found.inversion_time) == (2, 450.0)


@pytest.mark.parametrize(
    ("plane", "affine"),
    [
        ("axial", oblique_affine(angles=(20, -12, 33))),
        ("sagittal", SAGITTAL),
        ("coronal", oblique_affine(angles=(80, 5, 0))),
    ],
)
def test_plane(tmp_path: Path, plane: str, affine: np.ndarray) -> None:
    write_mr_series(tmp_path, phantom(), affine)
    (found,) = read_scans(tmp_path)
    assert found.plane == plane
    series = read_study(tmp_path).series[0]
    assert scan_of(series).plane == plane  # from the orientation alone, as for a refused series


def test_own_outputs_are_known_by_their_equipment() -> None:
    equipment = {"ContributingEquipmentSequence": [dataset(Manufacturer="Acuity")]}
    assert header_scan(ImageType=["DERIVED", "SECONDARY"], **equipment).made_by_acuity
    assert not header_scan(ImageType=["ORIGINAL", "PRIMARY"], **equipment).made_by_acuity
    assert not header_scan(ImageType=["DERIVED", "SECONDARY"], Manufacturer="Acuity").made_by_acuity
