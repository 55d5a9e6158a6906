"""T1 and T1c among T1-weighted volumes: by statement, name, time and intensity, with the doubt of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from acuity.anatomy import Sequence
from acuity.dicom.reading.scan import Scan
from acuity.dicom.reading.study import Series, Stack
from acuity.dicom.selection.agents import BY_NAME, DENIED, STATED, Agent
from acuity.dicom.selection.candidate import Candidate
from acuity.dicom.selection.classify import Kind
from acuity.dicom.selection.contrast import divide
from acuity.volume import Grid, Volume
from tests.dicom_builder import axial_affine
from tests.hospital import SHAPE, brain

GRID = Grid(SHAPE, axial_affine())


@dataclass(frozen=True)
class T1:
    """A T1-weighted scan: what its header or name says of the agent, when it was acquired, and what it shows."""

    given: bool | None = None
    enhanced: bool = False
    time: float | None = 0.0
    kinds: str = "SE"
    tr: float | None = 550.0
    te: float | None = 11.0
    ti: float | None = None
    plane: str = "axial"
    by_name: bool = False

    def agent(self) -> Agent:
        weight = {None: 0, False: DENIED, True: BY_NAME if self.by_name else STATED}[self.given]
        return Agent(self.given, f"given is {self.given}", weight=weight)

    def candidate(self, number: int) -> Candidate:
        time = None if self.time is None else self.time or float(number)
        scan = Scan(
            number=number,
            acquired=time,
            scanning_sequence=frozenset(self.kinds.split()),
            repetition_time=self.tr,
            echo_time=self.te,
            inversion_time=self.ti,
            plane=self.plane,
        )
        stack = Stack(GRID, (), attributes={"enhanced": self.enhanced, "seed": number})
        series = Series(str(number), "", "MR", "ok", "ok", "", (stack,))
        return Candidate(series, stack, 0, scan, Kind(Sequence.T1, ""), self.agent())


def load(stack: Stack) -> Volume:
    enhanced, seed = bool(stack.attributes["enhanced"]), int(str(stack.attributes["seed"]))
    return Volume(brain(enhanced=enhanced, seed=seed).astype(np.float32), GRID.affine)


OLD, NEW = T1(), T1(enhanced=True)  # nothing is said of the agent
PRE, POST = T1(given=False), T1(given=True, enhanced=True)
OTHER = T1(te=30.0)  # of another protocol
TIMELESS, TIMELESS_NEW = T1(time=None), T1(time=None, enhanced=True)
# Scans in the order of their numbers: what each becomes, T1 or T1c, and the degree of doubt.
DIVISIONS: dict[str, tuple[list[T1], str]] = {
    "alone": ([OLD], "T1 0"),
    "two that say without": ([PRE, PRE], "T1 0, T1 0"),
    "stated": ([OLD, POST], "T1 0, T1c 0"),
    "stated, alone": ([POST], "T1c 0"),
    "stated, a second scan before": ([OLD, T1(plane="sagittal"), POST], "T1 0, T1 0, T1c 0"),
    "stated, enhanced before already": ([OLD, NEW, POST], "T1 0, T1c 0, T1c 0"),
    "stated, two before and one says without": ([OLD, PRE, POST], "T1 0, T1 0, T1c 0"),
    "stated, one after": ([OLD, POST, OLD], "T1 0, T1c 0, T1c 1"),
    "stated, one after says without": ([OLD, POST, PRE], "T1 0, T1c 0, T1c 2"),
    "stated, no times, one says without": ([TIMELESS, T1(True, time=None), T1(False, time=None)], "T1 0, T1c 0, T1 0"),
    "stated first by number, later by time": ([T1(True, time=9.0), OLD], "T1c 0, T1 0"),
    "shown": ([OLD, NEW], "T1 0, T1c 0"),
    "shown, two before": ([OLD, OLD, NEW], "T1 0, T1 0, T1c 0"),
    "shown, the last is not enhanced": ([OLD, NEW, OLD], "T1 0, T1c 0, T1c 1"),
    "shown, no times, the last is not enhanced": ([TIMELESS, TIMELESS_NEW, TIMELESS], "T1 0, T1c 0, T1 0"),
    "shown, one says without": ([PRE, OLD, NEW], "T1 0, T1 0, T1c 0"),
    "shown, the last says without": ([OLD, NEW, PRE], "T1 0, T1c 0, T1c 2"),
    "shown, another protocol before": ([OLD, OTHER, NEW], "T1 0, undecided, T1c 0"),
    "shown, another protocol first": ([OTHER, OLD, NEW], "T1 0, T1 0, T1c 0"),
    "shown, another protocol after": ([OLD, NEW, OTHER], "T1 0, T1c 0, T1c 1"),
    "shown, the first is enhanced, no times": ([TIMELESS_NEW, TIMELESS], "T1c 0, T1 0"),
    "shown, the first is enhanced, one time": ([T1(enhanced=True, time=5.0), T1(time=5.0)], "T1c 0, T1 0"),
    "all stated, shown": ([T1(given=True), POST], "T1 0, T1c 0"),
    "all stated, three": ([T1(given=True), T1(given=True, plane="sagittal"), POST], "T1 0, T1 0, T1c 0"),
    "reference in the same plane": ([T1(plane="sagittal", enhanced=True), OLD, NEW], "T1 0, T1 0, T1c 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIVISIONS)
def test_scans_before_and_after_the_agent(case: str) -> None:
    scans, expected = DIVISIONS[case]
    candidates = [scan.candidate(number) for number, scan in enumerate(scans, start=1)]
    division = divide(candidates, load)
    found = {number: "undecided" for number in range(1, len(scans) + 1)}
    found |= {r.candidate.scan.number: f"T1 {r.doubt}" for r in division.without}
    found |= {r.candidate.scan.number: f"T1c {r.doubt}" for r in division.with_agent}
    assert ", ".join(found[number] for number in sorted(found)) == expected
    assert division.problems == {}
    assert all(r.why for r in division.without + division.with_agent)


# Another repetition, echo or inversion time, or another kind of sequence: contrast may differ without an agent.
@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (T1(te=15.7), True),
        (T1(te=15.8), False),
        (T1(te=7.8), True),
        (T1(te=7.6), False),
        (T1(tr=300), True),
        (T1(tr=270), False),
        (T1(tr=1100), True),
        (T1(tr=1110), False),
        (T1(tr=None), False),
        (T1(ti=900), False),
        (T1(kinds="GR"), False),
        (T1(kinds="SE IR"), True),
        (T1(kinds=""), False),
    ],
)
def test_only_scans_of_one_protocol_are_compared(other: T1, alike: bool) -> None:
    other = T1(**{**vars(other), "enhanced": True})
    division = divide([OLD.candidate(1), other.candidate(2)], load)
    assert ([r.candidate.scan.number for r in division.with_agent] == [2]) == alike
    assert set(division.problems) == (set() if alike else {Sequence.T1, Sequence.T1C})


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"te": 2.0}, {"te": 5.0}, True),  # a few ms do not matter, whatever their share
        ({"te": 2.0}, {"te": 5.1}, False),
        ({"ti": 900.0}, {"ti": 1285.0}, True),
        ({"ti": 900.0}, {"ti": 1290.0}, False),
    ],
)
def test_times_may_differ_by_a_share(one: dict[str, Any], other: dict[str, Any], alike: bool) -> None:
    division = divide([T1(**one).candidate(1), T1(**other, enhanced=True).candidate(2)], load)
    assert bool(division.with_agent) == alike


@pytest.mark.parametrize(
    ("scans", "problems", "without", "message"),
    [
        ([OLD, OLD], "T1 T1c", [], "2 T1-weighted volumes .*: none states a contrast agent, and no enhancement can be"),
        ([OLD, OTHER], "T1 T1c", [], "no two are of one protocol"),
        ([NEW, OLD], "T1 T1c", [], "no enhancement can be shown"),  # darker later: no scan loses its enhancement
        ([PRE, OLD], "T1c", [1], "no enhancement can be shown"),
        ([T1(given=True), T1(given=True)], "T1", [], "All 2 T1-weighted volumes state a contrast agent"),
    ],
)
def test_nothing_is_guessed(scans: list[T1], problems: str, without: list[int], message: str) -> None:
    division = divide([scan.candidate(number) for number, scan in enumerate(scans, start=1)], load)
    assert {s.value for s in division.problems} == set(problems.split())
    assert [r.candidate.scan.number for r in division.without] == without
    for problem in division.problems.values():
        with pytest.raises(type(problem), match=message):
            raise problem
