"""Candidates for the four sequences, and the preference among several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from acuity.anatomy import Sequence
from acuity.dicom.reading.scan import Scan, plane_of, scan_of
from acuity.dicom.reading.study import Series, Stack, Study
from acuity.dicom.selection.agents import Agent, agent_given
from acuity.dicom.selection.classify import Kind, classify
from acuity.dicom.selection.rules import Rules
from acuity.volume import Grid

_HEAD = 180.0  # mm; what an image covers beyond that is air
_ISOTROPIC = 1.5  # ratio of the largest to the smallest voxel edge, up to which every plane is as good
_FULL_COVERAGE = 0.75  # of the largest; below, part of the head is likely cut off
_T2_STAR = 10.0  # ms, the echo time from which a gradient echo is T2*-weighted
_MP2RAGE = 4000.0  # ms, the shortest TR of MP2RAGE; that of MPRAGE is shorter
_FIRST_ECHO = Kind(None, "the first echo of a T2*-weighted gradient echo")
_UNIFORM = {"UNI", "UNIFORM", "UNI_DEN", "UNIFORM_DEN", "UNI-DEN", "DENOISED", "DEN"}  # MP2RAGE: no other is as good
_PLANES = ("axial", "sagittal", "coronal")  # in the order of preference where the numbers are equal


@dataclass(frozen=True)
class Candidate:
    """A stack (None for a refused series), its kind, and whether a contrast agent had been given.

    ``named`` is the sequence that the user named the series for; its kind and agent are then as named.
    """

    series: Series
    stack: Stack | None
    index: int
    scan: Scan
    kind: Kind
    agent: Agent
    named: Sequence | None = None

    def __str__(self) -> str:
        """The series by number and description, for example: series 4 'AX T1'."""
        part = f" volume {self.index + 1}" if len(self.series.stacks) > 1 else ""
        name = f" '{self.scan.description}'" if self.scan.description else ""
        return f"series {self.scan.number}{name}{part}"

    @property
    def readable_stack(self) -> Stack:
        """The stack of a candidate whose series is not refused: only such are compared and ranked."""
        assert self.stack is not None, "the series is refused"
        return self.stack

    def earlier_than(self, other: Candidate) -> bool:
        """Whether this was acquired before ``other``; by series number and position where times cannot tell."""
        mine, theirs = self.scan.acquired, other.scan.acquired
        if mine is not None and theirs is not None and mine != theirs:
            return mine < theirs
        return (self.scan.number, self.index) < (other.scan.number, other.index)

    def timed_against(self, other: Candidate) -> bool:
        """Whether times of acquisition tell which of the two came first."""
        mine, theirs = self.scan.acquired, other.scan.acquired
        return mine is not None and theirs is not None and mine != theirs

    def same_protocol(self, other: Candidate) -> bool:
        """Whether the contrast of two scans is so similar that only an agent makes tissue brighter."""
        a, b = self.scan, other.scan
        families = {"SE", "GR"}
        return (
            a.scanning_sequence & families == b.scanning_sequence & families
            and _near(a.echo_time, b.echo_time, 0.3, 3.0)
            and _near(a.repetition_time, b.repetition_time, 0.5, 0.0)
            and _near(a.inversion_time, b.inversion_time, 0.3, 0.0)
        )


@dataclass(frozen=True)
class RankedCandidate:
    """A candidate for one sequence, the reason why it fits, and a degree of doubt (0 for none).

    ``margin`` says by how many points T1 was told from T1c; None where nothing was weighed.
    """

    candidate: Candidate
    why: str
    doubt: int = 0
    margin: int | None = None


def candidates_of(study: Study, rules: Rules) -> list[Candidate]:
    """One candidate for each stack of each series of ``study``, or one without a stack for a refused series."""
    found = []
    for series in study.series:
        stacks: list[Stack | None] = list(series.stacks) or [None]
        scans = [scan_of(series, stack) for stack in stacks]
        # Volumes of one timing follow each other in time; synthetic MR holds many timings in one series.
        alike = Counter((scan.repetition_time, scan.inversion_time) for scan in scans)
        for index, (stack, scan) in enumerate(zip(stacks, scans, strict=True)):
            scan = replace(scan, stacks=alike[scan.repetition_time, scan.inversion_time])
            kind = classify(scan, rules) if series.modality in ("MR", "") else Kind(None, f"{series.modality}, not MR")
            found.append(Candidate(series, stack, index, scan, kind, agent_given(scan, rules.agent)))
    return [replace(c, kind=_FIRST_ECHO) if _is_first_echo(c, found) else c for c in found]


def _is_first_echo(c: Candidate, others: list[Candidate]) -> bool:
    """Whether a T1-weighted gradient echo is an early echo of a scan that is T2*-weighted by its later ones."""
    mine = c.scan
    if c.kind.sequence is not Sequence.T1 or "GR" not in mine.scanning_sequence:
        return False
    return any(
        (o.scan.echo_time or 0) >= _T2_STAR
        and "GR" in o.scan.scanning_sequence
        and (o.scan.description, o.scan.repetition_time, o.scan.flip_angle)
        == (mine.description, mine.repetition_time, mine.flip_angle)
        for o in others
    )


class Preference(NamedTuple):
    """The order of preference: the first difference decides, and the smaller value wins."""

    doubt: int
    derived: bool
    covers_less: bool
    inversion: bool
    other_protocol: bool
    other_plane: bool
    voxel_volume: float
    acquired_earlier: float
    number: int
    position: int


# What to say of the first of these in which a candidate is worse.
_DRAWBACKS = (
    "is less certain",
    "is derived",
    "covers less",
    "is an inversion image of MP2RAGE",
    "has another protocol than T1c",
    "is in another plane",
    "has larger voxels",
    "was acquired earlier",
    "has a later number",
    "comes later in its series",
)


def common_plane(candidates: Iterable[Candidate]) -> str:
    """The plane in which most sequences were acquired with thick slices; "" if all are nearly isotropic."""
    planes = {
        (c.kind.sequence, plane_of(c.stack.grid))
        for c in candidates
        if c.kind.sequence and c.stack and not _isotropic(c.stack.grid)
    }
    counts = Counter(plane for _, plane in planes)
    return max(_PLANES, key=lambda plane: counts[plane]) if counts else ""


def preferred(
    ranked: list[RankedCandidate], plane: str, like: Candidate | None = None, latest: bool = False
) -> tuple[RankedCandidate, list[str]]:
    """The preferred one of several candidates for a sequence.

    Parameters
    ----------
    ranked : candidates with stacks
    plane : as ``common_plane`` gives it
    like : a chosen scan whose coverage and protocol count: T1c for T1
    latest : of two that are equally good, the later acquisition is the safer one: for T1c

    Returns
    -------
    The preferred candidate, and for each of the others, in their order, a clause that compares it.
    """
    coverage = {id(r): _coverage(r.candidate) for r in ranked}
    largest = max([*coverage.values(), *([_coverage(like)] if like else [])])
    uniform = any(r.candidate.scan.image_type & _UNIFORM for r in ranked)

    def preference(r: RankedCandidate) -> Preference:
        grid, scan = r.candidate.readable_stack.grid, r.candidate.scan
        return Preference(
            r.doubt,
            scan.derived and not scan.image_type & _UNIFORM,
            coverage[id(r)] < _FULL_COVERAGE * largest,
            uniform and not scan.image_type & _UNIFORM and (scan.repetition_time or 0) >= _MP2RAGE,
            like is not None and not r.candidate.same_protocol(like),
            bool(plane) and not _isotropic(grid) and plane_of(grid) != plane,
            float(f"{1000 * grid.voxel_volume:.2g}"),
            -(scan.acquired or 0.0) if latest else 0.0,
            scan.number,
            r.candidate.index,
        )

    ordered = sorted(ranked, key=preference)
    first = preference(ordered[0])
    return ordered[0], [f"{r.candidate}, which {_drawback(first, preference(r))}" for r in ordered[1:]]


def _drawback(winner: Preference, loser: Preference) -> str:
    reasons = (text for mine, theirs, text in zip(winner, loser, _DRAWBACKS, strict=True) if mine != theirs)
    return next(reasons, "is the same")


def _coverage(candidate: Candidate) -> float:
    """Volume of the field of view in ml, without the air beyond the size of a head."""
    grid = candidate.readable_stack.grid
    return float(np.prod(np.minimum(np.asarray(grid.shape) * grid.spacing, _HEAD)) / 1000.0)


def _near(a: float | None, b: float | None, share: float, floor: float) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= max(floor, share * max(a, b))


def _isotropic(grid: Grid) -> bool:
    return bool(grid.spacing.max() <= _ISOTROPIC * grid.spacing.min())


def sequence_names(sequences: Iterable[Sequence]) -> str:
    """For example "T1c and FLAIR"."""
    names = [s.value for s in sequences]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
