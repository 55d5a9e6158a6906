"""Candidates for the four sequences, and the preference among several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from acuity.anatomy import Sequence
from acuity.dicom.reading.scan import Scan, plane_of, scan_of
from acuity.dicom.reading.study import Series, Stack
from acuity.dicom.selection.agents import Agent, agent_given
from acuity.dicom.selection.classify import Kind, classify
from acuity.dicom.selection.rules import Rules
from acuity.volume import Grid

_HEAD = 180.0  # mm; what an image covers beyond that is air
_ISOTROPIC = 1.5  # ratio of the largest to the smallest voxel edge, up to which every plane is as good
_FULL_COVERAGE = 0.75  # of the largest; below, part of the head is likely cut off
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


@dataclass(frozen=True)
class RankedCandidate:
    """A candidate for one sequence, the reason why it fits, and a degree of doubt (0 for none)."""

    candidate: Candidate
    why: str
    doubt: int = 0


def candidates_of(series: Series, rules: Rules) -> list[Candidate]:
    """One candidate for each stack of ``series``, or one without a stack if it is refused."""
    stacks: list[Stack | None] = list(series.stacks) or [None]
    found = []
    for index, stack in enumerate(stacks):
        scan = scan_of(series, stack)
        kind = classify(scan, rules) if series.modality in ("MR", "") else Kind(None, f"{series.modality}, not MR")
        found.append(Candidate(series, stack, index, scan, kind, agent_given(scan, rules.agent)))
    return found


class Preference(NamedTuple):
    """The order of preference: the first difference decides, and the smaller value wins."""

    doubt: int
    derived: bool
    covers_less: bool
    other_plane: bool
    voxel_volume: float
    number: int
    position: int


# What to say of the first of these in which a candidate is worse.
_DRAWBACKS = (
    "is less certain",
    "is derived",
    "covers less",
    "is in another plane",
    "has larger voxels",
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


def preferred(ranked: list[RankedCandidate], plane: str) -> tuple[RankedCandidate, str]:
    """The preferred one of ``ranked`` (with stacks), and a sentence that compares it with the others ("" if alone)."""
    coverage = {id(r): _coverage(r.candidate) for r in ranked}
    largest = max(coverage.values())

    def preference(r: RankedCandidate) -> Preference:
        grid = r.candidate.readable_stack.grid
        return Preference(
            r.doubt,
            r.candidate.scan.derived,
            coverage[id(r)] < _FULL_COVERAGE * largest,
            bool(plane) and not _isotropic(grid) and plane_of(grid) != plane,
            float(f"{1000 * grid.voxel_volume:.2g}"),
            r.candidate.scan.number,
            r.candidate.index,
        )

    ordered = sorted(ranked, key=preference)
    first = preference(ordered[0])
    others = [f"{r.candidate}, which {_drawback(first, preference(r))}" for r in ordered[1:]]
    return ordered[0], f"Preferred to {'; '.join(others)}." if others else ""


def _drawback(winner: Preference, loser: Preference) -> str:
    reasons = (text for mine, theirs, text in zip(winner, loser, _DRAWBACKS, strict=True) if mine != theirs)
    return next(reasons, "is the same")


def _coverage(candidate: Candidate) -> float:
    """Volume of the field of view in ml, without the air beyond the size of a head."""
    grid = candidate.readable_stack.grid
    return float(np.prod(np.minimum(np.asarray(grid.shape) * grid.spacing, _HEAD)) / 1000.0)


def _isotropic(grid: Grid) -> bool:
    return bool(grid.spacing.max() <= _ISOTROPIC * grid.spacing.min())


def sequence_names(sequences: Iterable[Sequence]) -> str:
    """For example "T1c and FLAIR"."""
    names = [s.value for s in sequences]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
