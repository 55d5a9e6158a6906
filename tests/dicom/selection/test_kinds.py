"""Kinds of studies in which a wrong series is near: each is chosen right, or refused with the names of the candidates.

The studies are of one small head. What the application must never do in them is take a scan before the agent for T1c.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acuity.anatomy import Sequence
from acuity.dicom.reading.read import read_study
from acuity.dicom.selection.select import Selection, examine
from acuity.errors import AmbiguousSequenceError
from tests.dicom_builder import axial_affine, uid, write_mr_series
from tests.hospital import FLAIR_2D, GRADIENT_ECHO, MPRAGE, T1_SE, T2_TSE, SeriesSpec, brain, write_study

GADOLINIUM = {"ContrastBolusAgent": "Gadobutrol"}
VIBE = {**GRADIENT_ECHO, "RepetitionTime": 4.5, "EchoTime": 2.0, "FlipAngle": 10}
MP2RAGE = {**MPRAGE, "RepetitionTime": 5000}
FINE = axial_affine((1.0, 1.0, 2.0))


def t1(name: str, number: int, header: dict[str, Any] = T1_SE, **more: Any) -> SeriesSpec:
    return SeriesSpec(name, number, header, more.pop("array", brain(seed=number)), **more)


def t1c(name: str, number: int = 9, header: dict[str, Any] | None = None, **more: Any) -> SeriesSpec:
    array = more.pop("array", brain(enhanced=True, seed=number))
    return SeriesSpec(name, number, T1_SE | GADOLINIUM if header is None else header, array, **more)


def others() -> list[SeriesSpec]:
    return [SeriesSpec("AX T2", 6, T2_TSE), SeriesSpec("AX FLAIR", 7, FLAIR_2D)]


def chosen(folder: Path, *specs: SeriesSpec) -> dict[str, int]:
    return numbers(examine(read_study(write_study(folder, [*specs, *others()]))))


def numbers(selection: Selection) -> dict[str, int]:
    return {s.value: int(c.stack.datasets[0].SeriesNumber) for s, c in selection.choices.items()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("T1 tra vor KM", "T1 tra nach KM"),
        ("T1 tra avant gado", "T1 tra gado"),
        ("AX T1 NO CONTRAST", "AX T1 W CONTRAST"),
        ("T1 zonder contrast", "T1 met contrast"),
        ("T1 senza mdc", "T1 mdc"),
        ("T1 bez kontrastu", "T1 po kontrascie"),
        ("AX T1 -Gd", "AX T1 +Gd"),
        ("T1 kontrastia ennen", "T1 kontrasti"),
        ("T1 KM xyz", "T1 KM"),  # a denial in a language that the rules do not know
    ],
)
@pytest.mark.parametrize("stated", [True, False])
def test_a_name_that_denies_the_agent_is_before_it(tmp_path: Path, before: str, after: str, stated: bool) -> None:
    header = T1_SE | GADOLINIUM if stated else T1_SE
    found = chosen(tmp_path, t1("T1 sag", 1), t1(before, 2), t1c(after, header=header))
    assert found["T1c"] == 9 and found["T1"] in (1, 2)


@pytest.mark.parametrize("text", ["NO CONTRAST", "ohne KM", "NONE GIVEN", "UNKNOWN", "Gadobutrol", "see protocol 7"])
@pytest.mark.parametrize("scout", [True, False])
def test_an_agent_that_was_registered_or_denied_too_early(tmp_path: Path, text: str, scout: bool) -> None:
    specs = [t1("SAG T1", 1)] if scout else []
    found = chosen(tmp_path, *specs, t1("AX T1", 2, T1_SE | {"ContrastBolusAgent": text}), t1c("AX T1 POST"))
    assert found["T1c"] == 9 and found["T1"] in (1, 2)


def test_of_several_statements_without_pixels_that_tell_the_last_one_counts(tmp_path: Path) -> None:
    registered = t1("AX T1", 2, VIBE | GADOLINIUM, affine=FINE)  # finer, of another protocol, and not sure to be T1c
    found = chosen(tmp_path, t1("SAG T1", 1), registered, t1c("AX T1", 9, MPRAGE | GADOLINIUM))
    assert (found["T1"], found["T1c"]) == (1, 9)


def test_of_two_statements_alone_the_earlier_one_is_no_t1_without_pixels_that_tell(tmp_path: Path) -> None:
    study = [t1("AX T1", 2, VIBE | GADOLINIUM), t1c("AX T1", 9, MPRAGE | GADOLINIUM)]
    selection = examine(read_study(write_study(tmp_path, [*study, *others()])))
    assert numbers(selection)["T1c"] == 9
    problem = selection.problems[Sequence.T1]
    assert isinstance(problem, AmbiguousSequenceError) and problem.exit_code == 31
    assert "series 2 'AX T1'" in problem.found and "series 9 'AX T1'" in problem.found


@pytest.mark.parametrize("name", ["AX T1 +GD PRE-OP", "AX T1 POST W/O FS", "T1 +C PRE-SAT"])
def test_a_word_that_denies_something_else_denies_no_agent(tmp_path: Path, name: str) -> None:
    assert chosen(tmp_path, t1("AX T1", 2), t1c(name, header=T1_SE)) == {"T1": 2, "T1c": 9, "T2": 6, "FLAIR": 7}


def test_fat_saturation_after_the_agent_hides_no_enhancement(tmp_path: Path) -> None:
    coarse = axial_affine((4.0, 4.0, 5.0))
    before, after = (np.pad(brain(enhanced=n == 2, seed=n).repeat(2, 0).repeat(2, 1).repeat(2, 2), 6) for n in (1, 2))
    scalp = np.ones(before.shape, bool)
    scalp[6:-6, 6:-6, 6:-6] = False
    before[scalp], after[scalp] = 2000, 300
    for volume in (before, after):
        volume[:4], volume[-4:], volume[:, :4], volume[:, -4:], volume[..., :4], volume[..., -4:] = (0,) * 6
    specs = [t1("T1", 1, VIBE, array=before, affine=coarse), t1c("T1 FS", header=VIBE, array=after, affine=coarse)]
    assert chosen(tmp_path, *specs) == {"T1": 1, "T1c": 9, "T2": 6, "FLAIR": 7}


SCOUTS: dict[str, dict[str, Any]] = {
    "AAHScout": {},
    "Head_MRAC_PET_15min_in_phase": {},
    "T1w_MPR_vNav_setter": {},
    "PILOT": {},
    "localizador": {},
    "umap_ac": {},
    "fmap_gre": {"RepetitionTime": 400, "EchoTime": 4.92, "FlipAngle": 60},
    "SWI_mag": {"RepetitionTime": 30, "EchoTime": 9},
    "Cerebral Blood Flow": {"ScanningSequence": "RM", "RepetitionTime": 4632, "EchoTime": 10.5, "InversionTime": 1025},
    "unnamed": {},  # only the protocol shared with T1c tells
}


@pytest.mark.parametrize("name", SCOUTS)
@pytest.mark.parametrize("number", [1, 3])
def test_t1_is_the_diagnostic_series(tmp_path: Path, name: str, number: int) -> None:
    scout = t1(name, number, {**VIBE, "RepetitionTime": 3.2, "EchoTime": 1.4, **SCOUTS[name]}, affine=FINE)
    assert chosen(tmp_path, scout, t1("AX T1", 2), t1c("AX T1 POST")) == {"T1": 2, "T1c": 9, "T2": 6, "FLAIR": 7}


@pytest.mark.parametrize(
    "name",
    ["T1 POST-OP", "T1 PRE-OP", "T1 3D NAV", "T1 RT planning", "ABCD_T1w_MPR_vNav", "T1 PROMO", "t1_vibe_fat_sat"],
)
def test_a_diagnostic_scan_with_a_word_near_those_of_others_is_kept(tmp_path: Path, name: str) -> None:
    assert chosen(tmp_path, t1(name, 2), t1c(f"{name} KM")) == {"T1": 2, "T1c": 9, "T2": 6, "FLAIR": 7}


def test_fluid_attenuation_is_no_attenuation_map(tmp_path: Path) -> None:
    folder = write_study(tmp_path, [t1("T1", 2), t1c("T1 C+"), SeriesSpec("T2", 6, T2_TSE)])
    write_study(folder, [SeriesSpec("fluid attenuated", 7, FLAIR_2D)])
    assert numbers(examine(read_study(folder)))["FLAIR"] == 7


@pytest.mark.parametrize("number", [1, 3])
def test_t1_is_the_whole_scan_and_not_the_stopped_one(tmp_path: Path, number: int) -> None:
    stopped = t1("AX T1", number, array=brain()[:, :, :5])
    assert chosen(tmp_path, stopped, t1("AX T1", 2), t1c("AX T1 POST"))["T1"] == 2


def test_t1_shares_the_protocol_of_t1c(tmp_path: Path) -> None:
    specs = [t1("SAG T1 5mm", 1), t1("T1 MPRAGE", 2, MPRAGE), t1c("T1 MPRAGE +C", 9, MPRAGE | GADOLINIUM)]
    assert chosen(tmp_path, *specs)["T1"] == 2


def test_the_first_echo_of_a_t2_star_scan_is_no_t1(tmp_path: Path) -> None:
    echoes = [t1("gre", n, {**VIBE, "RepetitionTime": 35, "EchoTime": te}) for n, te in ((1, 5.0), (3, 20.0))]
    assert chosen(tmp_path, *echoes, t1("AX T1", 2, VIBE), t1c("AX T1 POST", header=VIBE | GADOLINIUM))["T1"] == 2


@pytest.mark.parametrize(("good", "bad"), [("WATER", "FAT"), ("IN_PHASE", "OPP_PHASE"), ("WATER", "OUT_PHASE")])
@pytest.mark.parametrize("tagged", [True, False])
def test_dixon_gives_water_or_in_phase(tmp_path: Path, good: str, bad: str, tagged: bool) -> None:
    letters = {"WATER": "W", "IN_PHASE": "in", "FAT": "F", "OPP_PHASE": "opp", "OUT_PHASE": "out"}
    for base, sequence in ((T2_TSE, "T2"), (T1_SE | GADOLINIUM, "T1c")):
        pair = []
        for number, part in ((3, bad), (4, good)):
            kind = {"ImageType": ["DERIVED", "PRIMARY", "DIXON", part]} if tagged else {}
            array = brain(enhanced=sequence == "T1c", seed=number)
            pair.append(SeriesSpec(f"x_dixon_tra_{letters[part]}", number, {**base, **kind}, array))
        rest = [t1("AX T1", 2), *([t1c("AX T1 POST")] if sequence == "T2" else [])]
        four = [s for s in others() if sequence != "T2" or s.number != 6]
        folder = write_study(tmp_path / sequence, [*rest, *pair, *four])
        assert numbers(examine(read_study(folder)))[sequence] == 4


@pytest.mark.parametrize("uniform", [["M", "ND", "UNI"], ["T1", "UNIFORM"], ["T1", "UNIFORM_DEN"]])
@pytest.mark.parametrize("named", [True, False])
def test_mp2rage_gives_its_uniform_image(tmp_path: Path, uniform: list[str], named: bool) -> None:
    specs = [
        t1("mp2rage_INV1" if named else "mp2rage", 1, MP2RAGE),
        t1("mp2rage_INV2" if named else "mp2rage", 2, {**MP2RAGE, "InversionTime": 2500}),
        t1("mp2rage_T1_Images", 3, {**MP2RAGE, "ImageType": ["DERIVED", "PRIMARY", "T1 MAP", "ND"]}),
        t1("mp2rage_UNI", 4, {**MP2RAGE, "ImageType": ["DERIVED", "PRIMARY", *uniform]}),
        t1c("t1_mprage", 9, MPRAGE | GADOLINIUM),
    ]
    assert chosen(tmp_path, *specs)["T1"] == 4


def test_synthetic_mr_holds_all_contrasts_in_one_series(tmp_path: Path) -> None:
    timings = [(T1_SE, "T1"), (T2_TSE, "T2"), (FLAIR_2D, "FLAIR"), ({**T2_TSE, "EchoTime": 20}, "PD")]
    timings += [({**FLAIR_2D, "InversionTime": 160, "RepetitionTime": 5000}, "STIR")]
    timings += [({**T2_TSE, "RepetitionTime": 7000, "EchoTime": 12}, "other")]
    for n, (header, _) in enumerate(timings):
        write_mr_series(
            tmp_path / "magic",
            brain(seed=n),
            axial_affine(),
            name="MAGiC",
            series_number=1,
            series_uid=uid("magic"),
            first_instance=1 + 100 * n,
            AcquisitionNumber=n + 1,
            **{"AcquisitionTime": "100100", "SeriesTime": "100100", **header},
        )
    write_study(tmp_path, [t1c("AX T1 POST")])
    assert numbers(examine(read_study(tmp_path))) == {"T1": 1, "T1c": 9, "T2": 1, "FLAIR": 1}


@pytest.mark.parametrize("filler", [1.7976931348623157e308, 1e6])
def test_fillers_are_no_inversion_times(tmp_path: Path, filler: float) -> None:
    specs = [t1("AX T1", 2, {**VIBE, "InversionTimes": [0.0, filler]}), t1c("POST", 9, {**VIBE, **GADOLINIUM})]
    flair = {**FLAIR_2D, "InversionTime": None, "InversionTimes": [2500.0, filler]}
    folder = write_study(tmp_path, [*specs, others()[0], SeriesSpec("AX FLAIR", 7, flair)])
    assert numbers(examine(read_study(folder))) == {"T1": 2, "T1c": 9, "T2": 6, "FLAIR": 7}


def test_a_propeller_diffusion_scan_is_no_t2(tmp_path: Path) -> None:
    assert chosen(tmp_path, SeriesSpec("Ax PROPELLER DW", 1, T2_TSE), t1("T1", 2), t1c("T1 +C"))["T2"] == 6


def test_r2_in_a_name_is_no_map(tmp_path: Path) -> None:
    assert chosen(tmp_path, t1("AX T1 R2", 2), t1c("AX T1 POST R2")) == {"T1": 2, "T1c": 9, "T2": 6, "FLAIR": 7}


HEADERS = [{}, GADOLINIUM, {"ContrastBolusAgent": "none"}, {"ContrastBolusAgent": "?"}]
NAMES = ["AX T1", "AX T1 PRE", "AX T1 POST", "AX T1 KM", "SAG T1"]
SCAN = st.tuples(st.sampled_from(NAMES), st.sampled_from(HEADERS))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(SCAN, min_size=1, max_size=2), after=st.lists(SCAN, min_size=1, max_size=2), data=st.data())
def test_whatever_headers_and_names_say_no_scan_before_the_agent_is_t1c(
    tmp_path_factory: pytest.TempPathFactory, before: list[Any], after: list[Any], data: st.DataObject
) -> None:
    """Scans of one protocol with true times: intensities decide, however names and headers lie."""
    scans = [t1(name, n, T1_SE | header) for n, (name, header) in enumerate(before, start=1)]
    scans += [t1c(name, 10 + n, T1_SE | header) for n, (name, header) in enumerate(after)]
    folder = tmp_path_factory.mktemp("study")
    selection = examine(read_study(write_study(folder, data.draw(st.permutations(scans)))))
    found = numbers(selection)
    assert found.get("T1c", 10) >= 10
    assert found.get("T1", 1) < 10
    for sequence in (Sequence.T1, Sequence.T1C):
        problem = selection.problems.get(sequence)
        if isinstance(problem, AmbiguousSequenceError):
            assert all(f"series {scan.number} " in problem.found for scan in scans)
