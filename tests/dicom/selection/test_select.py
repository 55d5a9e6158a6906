"""T1, T1c, T2 and FLAIR out of studies as hospitals send them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from acuity.anatomy import Sequence
from acuity.dicom.reading.read import read_study
from acuity.dicom.reading.study import Stack
from acuity.dicom.selection.rules import load_rules
from acuity.dicom.selection.select import Selection, examine, select_sequences
from acuity.errors import (
    AmbiguousSequenceError,
    MissingSequenceError,
    MissingSliceError,
    NoGeometryError,
    RulesError,
    UnreadablePixelsError,
    UnsupportedSeriesError,
)
from acuity.volume import Volume
from tests.dicom_builder import axial_affine, dataset, phantom, uid, write_enhanced_mr, write_mr_series
from tests.hospital import (
    FLAIR_2D,
    MPRAGE,
    SAGITTAL,
    T1_SE,
    T2_TSE,
    SeriesSpec,
    brain,
    hospital_series,
    write_study,
)

AGENT = {"ContrastBolusAgent": "Gadovist"}


def plain_series() -> list[SeriesSpec]:
    """The four sequences, with the agent stated."""
    return [
        SeriesSpec("AX T1", 2, T1_SE, brain()),
        SeriesSpec("AX T2", 3, T2_TSE),
        SeriesSpec("AX FLAIR", 4, FLAIR_2D),
        SeriesSpec("AX T1", 5, {**T1_SE, **AGENT}, brain(enhanced=True)),
    ]


def no_pixels(stack: Stack) -> Volume:
    raise AssertionError("the headers decide; no pixels are needed")


def numbers(selection: Selection) -> dict[str, int]:
    return {s.value: int(c.stack.datasets[0].SeriesNumber) for s, c in selection.choices.items()}


def select(folder: Path, specs: list[SeriesSpec], **options: Any) -> Selection:
    return select_sequences(read_study(write_study(folder, specs)), **options)


def test_a_hospital_study(tmp_path: Path) -> None:
    selection = select(tmp_path, hospital_series())
    assert numbers(selection) == {"T1": 2, "T1c": 9, "T2": 6, "FLAIR": 8}
    t1, t1c, t2, flair = (selection.choices[s].reason for s in Sequence)
    assert "Series 2 'AX T1': SE, TR 550, TE 11 ms" in t1
    assert "not enhanced, unlike series 9 'AX T1'" in t1
    assert "acquired later than series 2 'AX T1' and enhanced against it (" in t1c
    assert "% of the voxels brighter" in t1c
    assert "SE, TR 4500, TE 99 ms: a spin echo with a long repetition and echo time" in t2
    assert "TI 1800 ms: an inversion that nulls fluid" in flair
    findings = list(selection.findings.values())
    # Its pixels are no head here: no comparison tells on which side of the agent it is.
    assert findings[2].startswith("is T1 or T1c (")
    for number, text in {1: "localizer", 4: "diffusion", 5: "parametric map", 7: "T2*", 10: "subtraction"}.items():
        assert text in findings[number - 1] and findings[number - 1].startswith("is none (")


@pytest.mark.parametrize("by", ["the header", "names"])
def test_a_stated_or_named_agent_needs_no_pixels(tmp_path: Path, by: str) -> None:
    specs = plain_series()
    if by == "names":
        specs[0].name, specs[3].name, specs[3].header = "AX T1 PRE", "AX T1 POST", T1_SE
    selection = select(tmp_path, specs, load=no_pixels)
    assert numbers(selection) == {"T1": 2, "T1c": 5, "T2": 3, "FLAIR": 4}
    t1, t1c = (selection.choices[s].reason for s in (Sequence.T1, Sequence.T1C))
    if by == "names":
        assert "its name says so, though no contrast agent is stated" in t1c
    else:
        assert "its header states a contrast agent" in t1c
        assert "acquired before series 5" in t1


def test_time_and_not_the_number_tells_which_scan_is_later(tmp_path: Path) -> None:
    specs = hospital_series()
    specs[1].time, specs[8].time = "103000", "100000"  # series 9 was acquired first
    specs[1].array, specs[8].array = specs[8].array, specs[1].array
    specs[2].time = "100100"
    assert numbers(select(tmp_path, specs))["T1c"] == 2


@pytest.mark.parametrize(
    "time",
    [
        {"AcquisitionTime": None, "SeriesTime": None, "ContentTime": None},
        {"AcquisitionTime": "000000", "SeriesTime": "000000"},
    ],
)
def test_without_times_intensities_tell_which_scan_is_enhanced(tmp_path: Path, time: dict[str, Any]) -> None:
    specs = hospital_series()
    del specs[2]  # the sagittal T1
    for spec in specs:
        spec.header = {**spec.header, **time}
    specs[1].array, specs[7].array = specs[7].array, specs[1].array  # the enhanced one has the lower number
    selection = select(tmp_path, specs)
    assert (numbers(selection)["T1"], numbers(selection)["T1c"]) == (9, 2)
    assert "enhanced against series 9 'AX T1'" in selection.choices[Sequence.T1C].reason


def test_without_a_change_of_intensity_nothing_is_guessed(tmp_path: Path) -> None:
    specs = hospital_series()
    specs[8].array = brain(seed=3, gain=1.6)
    with pytest.raises(AmbiguousSequenceError) as caught:
        select(tmp_path, specs)
    assert "3 T1-weighted volumes (series 2 'AX T1', series 3 'SAG T1', series 9 'AX T1')" in caught.value.found
    assert "no enhancement can be shown (" in caught.value.found
    assert "T1c=UID" in caught.value.remedy


def test_what_follows_an_enhanced_scan_is_enhanced(tmp_path: Path) -> None:
    specs = [*hospital_series(), SeriesSpec("t1_mprage", 11, MPRAGE, affine=axial_affine((1.0, 1.0, 1.0)))]
    selection = select(tmp_path, specs)
    # the volume that is shown to be enhanced is more certain than the sharper one after it
    assert numbers(selection)["T1c"] == 9
    assert "T1c" in selection.findings[specs[-1].uid]
    assert "acquired after series 9 'AX T1', which is enhanced" in selection.findings[specs[-1].uid]
    assert numbers(selection)["T1"] == 2


def test_an_agent_stated_for_all_series_is_settled_by_intensity(tmp_path: Path) -> None:
    specs = plain_series()
    specs[0].header = specs[3].header
    selection = select(tmp_path, specs)
    assert (numbers(selection)["T1"], numbers(selection)["T1c"]) == (2, 5)
    specs[3].array = brain(seed=7)
    with pytest.raises(MissingSequenceError, match="All 2 T1-weighted volumes state a contrast agent"):
        select(tmp_path / "unchanged", specs)


def test_the_stated_agent_wins_over_the_name(tmp_path: Path) -> None:
    specs = plain_series()
    specs[3].name = "AX T1 PRE"
    reason = select(tmp_path, specs).choices[Sequence.T1C].reason
    assert "Warning: Its name says that no contrast agent was given, but its header states one." in reason


def test_physics_wins_and_the_warning_is_in_the_reason(tmp_path: Path) -> None:
    specs = plain_series()
    specs[1].name, specs[2].name = "AX FLAIR", "AX T2"
    selection = select(tmp_path, specs)
    assert (numbers(selection)["T2"], numbers(selection)["FLAIR"]) == (3, 4)
    assert "Warning: Its name says T2, but its timing says FLAIR" in selection.choices[Sequence.FLAIR].reason


def test_anonymized_timing_falls_back_to_names(tmp_path: Path) -> None:
    times = ("RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoTrainLength")
    bare = dict.fromkeys(("ScanningSequence", "SequenceVariant", *times))
    specs = plain_series()
    for spec, name in zip(specs, ("T1", "T2", "FLAIR", "T1 GD"), strict=True):
        spec.name, spec.header = name, bare
    selection = select(tmp_path, specs)
    assert numbers(selection) == {"T1": 2, "T1c": 5, "T2": 3, "FLAIR": 4}
    assert "the timing is missing; the name says T2" in selection.choices[Sequence.T2].reason


def test_a_missing_sequence_lists_what_there_is(tmp_path: Path) -> None:
    specs = [s for s in hospital_series() if s.number not in (6, 8)]
    with pytest.raises(MissingSequenceError) as caught:
        select(tmp_path, specs)
    assert caught.value.found.startswith("T2 and FLAIR were not found among 8 series: 'localizer' is none (localizer")
    assert "'SWI' is none (GR, TR 28, TE 20 ms: a gradient echo with a long echo time" in caught.value.found
    assert "'AX T1' is T1c (" in caught.value.found
    assert "by UID" in caught.value.remedy
    assert "Phantom" not in str(caught.value)  # the patient's name and ID


def test_one_missing_sequence(tmp_path: Path) -> None:
    with pytest.raises(MissingSequenceError, match="^T1c was not found among 3 series: 'AX T1' is T1 "):
        select(tmp_path, plain_series()[:3])
    with pytest.raises(MissingSequenceError, match="^T1 was not found"):
        select(tmp_path / "t1", plain_series()[1:])


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_a_refused_series_that_alone_can_be_the_sequence_refuses_the_study(tmp_path: Path, number: int) -> None:
    specs = plain_series()
    bad = next(s for s in specs if s.number == number)
    bad.options = {"skip": (5,)}
    with pytest.raises(MissingSliceError) as caught:
        select(tmp_path, specs)
    assert caught.value.exit_code == 22
    assert f"can only be series {number} '{bad.name}', which is refused: " in caught.value.found


def test_a_refused_unlabeled_t1_may_be_the_missing_t1c(tmp_path: Path) -> None:
    specs = hospital_series()
    specs[8].options = {"skip": (5,)}
    with pytest.raises(MissingSliceError, match="T1c can only be series 9"):
        select(tmp_path, specs)


def test_a_refused_series_that_is_not_needed_does_not_refuse_the_study(tmp_path: Path) -> None:
    specs = [*plain_series(), SeriesSpec("SAG FLAIR", 7, FLAIR_2D, affine=SAGITTAL, options={"skip": (4,)})]
    selection = select(tmp_path, specs)
    assert numbers(selection)["FLAIR"] == 4
    assert selection.findings[specs[-1].uid].startswith("is refused (missing-slice) and is FLAIR (")


def test_a_refused_localizer_is_no_candidate(tmp_path: Path) -> None:
    specs = hospital_series()
    del specs[1:3], specs[6]  # all T1
    specs[0].options = {"skip": (5,)}
    with pytest.raises(MissingSequenceError, match=r"'localizer' is refused \(missing-slice\) and is none"):
        select(tmp_path, specs)


def test_unreadable_pixels_that_were_needed_refuse_the_study(tmp_path: Path) -> None:
    def load(stack: Stack) -> Volume:
        raise UnreadablePixelsError("The pixels cannot be decoded.")

    with pytest.raises(UnreadablePixelsError):
        select(tmp_path, hospital_series(), load=load)


@pytest.mark.parametrize(
    ("better", "worse", "why"),
    [
        ({}, {"header": {**T2_TSE, "ImageType": ["DERIVED", "PRIMARY", "M"]}}, "is derived"),
        ({}, {"array": phantom((24, 20, 6))}, "covers less"),
        ({}, {"affine": SAGITTAL}, "is in another plane"),
        ({"affine": axial_affine((1.0, 1.0, 1.0)), "array": phantom((24, 20, 36))}, {}, "has larger voxels"),
        ({}, {}, "has a later number"),
    ],
)
@pytest.mark.parametrize(("good", "bad"), [(7, 8), (8, 7)])
def test_preferences(tmp_path: Path, better: dict, worse: dict, why: str, good: int, bad: int) -> None:
    if why == "has a later number":
        good, bad = sorted((good, bad))
    specs = [s for s in plain_series() if s.number != 3]
    specs += [
        SeriesSpec("good", good, **{"header": T2_TSE, **better}),
        SeriesSpec("bad", bad, **{"header": T2_TSE, **worse}),
    ]
    selection = select(tmp_path, specs)
    assert numbers(selection)["T2"] == good
    assert f"Preferred to series {bad} 'bad', which {why}." in selection.choices[Sequence.T2].reason


def test_an_isotropic_volume_is_in_no_plane(tmp_path: Path) -> None:
    iso = SAGITTAL @ np.diag([1, 1, 1 / 3, 1])
    specs = [*plain_series(), SeriesSpec("sag 3D FLAIR", 9, FLAIR_2D, phantom((24, 20, 36)), iso)]
    selection = select(tmp_path, specs)
    assert numbers(selection)["FLAIR"] == 9
    assert "Preferred to series 4 'AX FLAIR', which has larger voxels." in selection.choices[Sequence.FLAIR].reason


def test_own_super_resolved_series_are_never_taken(tmp_path: Path) -> None:
    own = {
        "ImageType": ["DERIVED", "SECONDARY", "OTHER"],
        "ContributingEquipmentSequence": [dataset(Manufacturer="Acuity")],
    }
    fine = axial_affine((0.5, 0.5, 1.0))
    specs = plain_series()
    specs += [
        SeriesSpec(f"{s.name} SR by AI", 100 + s.number, {**s.header, **own}, affine=fine, time="110000")
        for s in plain_series()
    ]
    selection = select(tmp_path, specs)
    assert numbers(selection) == {"T1": 2, "T1c": 5, "T2": 3, "FLAIR": 4}
    assert "an output of Acuity" in selection.findings[specs[-1].uid]


def test_each_echo_of_a_dual_echo_series_is_judged_by_its_own_echo_time(tmp_path: Path) -> None:
    specs = [s for s in plain_series() if s.number != 3]
    dual = uid("dual echo")
    write_study(tmp_path, specs)
    for n, echo in enumerate((15, 95)):
        write_mr_series(
            tmp_path / "dual",
            phantom(seed=echo),
            axial_affine(),
            name="PD T2",
            series_number=6,
            series_uid=dual,
            first_instance=1 + 100 * n,
            **{**T2_TSE, "EchoTime": echo},
        )
    choice = select_sequences(read_study(tmp_path)).choices[Sequence.T2]
    assert choice.series.series_uid == dual
    assert choice.stack.datasets[0].EchoTime == 95
    assert choice.reason.startswith("Series 6 'PD T2' volume 2: SE, TR 4500, TE 95 ms")


def test_enhanced_mr(tmp_path: Path) -> None:
    def write(number: int, tr: float, echo: str, frame: dict[str, float], time: str = "20200102101500") -> None:
        def edit(ds: Dataset) -> None:
            timing = dataset(RepetitionTime=tr)
            ds.SharedFunctionalGroupsSequence[0].MRTimingAndRelatedParametersSequence = [timing]
            ds.EchoPulseSequence, ds.AcquisitionDateTime = echo, time
            for group in ds.PerFrameFunctionalGroupsSequence if "InversionTime" in frame else ():
                group.MRModifierSequence[0].InversionRecovery = "YES"

        path = tmp_path / f"{number}.dcm"
        array = brain(enhanced=number == 2)
        write_enhanced_mr(
            path, [array], axial_affine(), frames=[frame], series_number=number, name=f"s{number}", edit=edit
        )

    write(1, 2000.0, "GRADIENT", {"EchoTime": 3.0, "InversionTime": 900.0})
    write(2, 2000.0, "GRADIENT", {"EchoTime": 3.0, "InversionTime": 900.0}, "20200102103000")
    write(3, 5000.0, "SPIN", {"EchoTime": 100.0})
    write(4, 9000.0, "SPIN", {"EchoTime": 120.0, "InversionTime": 2500.0})
    selection = select_sequences(read_study(tmp_path))
    assert numbers(selection) == {"T1": 1, "T1c": 2, "T2": 3, "FLAIR": 4}
    assert "GR/IR, TR 2000, TE 3, TI 900 ms" in selection.choices[Sequence.T1C].reason


def test_series_named_by_uid_come_first(tmp_path: Path) -> None:
    specs = hospital_series()
    selection = select(tmp_path, specs, overrides={Sequence.T1: specs[2].uid, Sequence.T2: specs[6].uid})
    assert numbers(selection) == {"T1": 3, "T1c": 9, "T2": 7, "FLAIR": 8}
    assert "named by the user" in selection.choices[Sequence.T1].reason
    assert "Warning: By the rules it would not be T2: GR, TR 28, TE 20 ms" in selection.choices[Sequence.T2].reason


def test_naming_settles_what_intensities_cannot(tmp_path: Path) -> None:
    specs = hospital_series()
    specs[8].array = brain(seed=3)
    named = {Sequence.T1C: specs[8].uid}
    selection = select(tmp_path, specs, overrides=named)
    assert (numbers(selection)["T1"], numbers(selection)["T1c"]) == (2, 9)


def test_series_named_in_a_rule_file(tmp_path: Path) -> None:
    specs = hospital_series()
    path = tmp_path / "rules.yaml"
    path.write_text('series:\n  T1: {description: "sag t1"}\n', encoding="utf-8")
    study = read_study(write_study(tmp_path / "study", specs))
    assert numbers(select_sequences(study, load_rules(path)))["T1"] == 3
    by_uid = select_sequences(study, load_rules(path), {Sequence.T1: specs[1].uid})
    assert numbers(by_uid)["T1"] == 2  # the command line comes before the file


def test_wrong_names(tmp_path: Path) -> None:
    specs = plain_series()
    study = read_study(write_study(tmp_path, specs))
    with pytest.raises(RulesError, match=r"T2 is named by UID 1\.2\.3, and no series of the study match"):
        select_sequences(study, overrides={Sequence.T2: "1.2.3"})
    with pytest.raises(RulesError, match="is named for both T1 and T2"):
        select_sequences(study, overrides={Sequence.T1: specs[0].uid, Sequence.T2: specs[0].uid})
    path = tmp_path / "rules.yaml"
    path.write_text('series:\n  T1: {description: "ax t1"}\n', encoding="utf-8")
    with pytest.raises(RulesError, match="2 series of the study match"):
        select_sequences(study, load_rules(path))


def test_a_refused_series_cannot_be_named(tmp_path: Path) -> None:
    specs = [*plain_series(), SeriesSpec("no position", 8, {**T2_TSE, "ImagePositionPatient": None})]
    with pytest.raises(NoGeometryError, match="T2 can only be series 8 'no position', which is refused"):
        select(tmp_path, specs, overrides={Sequence.T2: specs[-1].uid})


def test_another_modality_cannot_be_named(tmp_path: Path) -> None:
    specs = [*plain_series(), SeriesSpec("scan", 8, {"Modality": "CT"})]
    with pytest.raises(UnsupportedSeriesError):
        select(tmp_path, specs, overrides={Sequence.T2: specs[-1].uid})


def test_a_named_series_of_several_volumes_leads_to_the_one_that_fits(tmp_path: Path) -> None:
    specs = [s for s in plain_series() if s.number not in (2, 5)]
    write_study(tmp_path, specs)
    both = str(uid("before and after"))
    for n in range(2):
        write_mr_series(
            tmp_path / "both",
            brain(enhanced=n == 1),
            axial_affine(),
            name="T1",
            series_number=6,
            series_uid=both,
            first_instance=1 + 100 * n,
            AcquisitionNumber=n + 1,
            **T1_SE,
            AcquisitionTime=f"1{n}0000",
        )
    study = read_study(tmp_path)
    for selection in (
        select_sequences(study),
        select_sequences(study, None, {Sequence.T1: both, Sequence.T1C: both}, no_pixels),
    ):
        first, second = (selection.choices[s].stack.datasets[0].AcquisitionNumber for s in (Sequence.T1, Sequence.T1C))
        assert (first, second) == (1, 2)
    with pytest.raises(RulesError, match="holds 2 volumes, of which 0 can be it"):
        select_sequences(study, None, {Sequence.T2: both})


def test_examine_gives_what_can_be_chosen_and_the_errors_of_the_rest(tmp_path: Path) -> None:
    specs = plain_series()[:3]
    specs[1].options = {"skip": (5,)}
    selection = examine(read_study(write_study(tmp_path, specs)))
    assert numbers(selection) == {"T1": 2, "FLAIR": 4}
    assert {s: p.code for s, p in selection.problems.items()} == {
        Sequence.T1C: "missing-sequence",
        Sequence.T2: "missing-slice",
    }


def test_other_parts_of_the_body_have_no_brain_sequences(shared_data: Path) -> None:
    with pytest.raises(MissingSequenceError, match="T1, T1c, T2 and FLAIR were not found"):
        select_sequences(read_study(shared_data / "knee_mese"))
