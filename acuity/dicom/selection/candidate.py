"""A volume that may be one of the sequences, and which of several is preferred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from acuity.anatomy import Sequence
from acuity.dicom.reading.scan import Scan, plane_of, scan_of
from acuity.dicom.reading.study import Series, Stack
from acuity.dicom.selection.classify import Agent, Kind, agent_given, classify
from acuity.dicom.selection.rules import Rules
from acuity.volume import Grid

_HEAD = 180.0  # mm; what an image covers beyond that is air
_ISOTROPIC = 1.5  # ratio of the largest to the smallest voxel edge, up to which every plane is as good
_FULL_COVERAGE = 0.75  # of the largest; below, part of the head is likely cut off
_PLANES = ("axial", "sagittal", "coronal")  # in the order of preference where the numbers are equal


@dataclass(frozen=True)
class Candidate:
    """A stack (None for a refused series), what it is, and whether a contrast agent had been given.

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
        """The series as people know it, for example: series 4 'AX T1'."""
        part = f" volume {self.index + 1}" if len(self.series.stacks) > 1 else ""
        name = f" '{self.scan.description}'" if self.scan.description else ""
        return f"series {self.scan.number}{name}{part}"

    def earlier_than(self, other: Candidate) -> bool:
        """By time of acquisition; by series number and position in the series where times cannot tell."""
        mine, theirs = self.scan.acquired, other.scan.acquired
        if mine is not None and theirs is not None and mine != theirs:
            return mine < theirs
        return (self.scan.number, self.index) < (other.scan.number, other.index)

    def timed_against(self, other: Candidate) -> bool:
        """Whether times of acquisition tell which of the two came first."""
        mine, theirs = self.scan.acquired, other.scan.acquired
        return mine is not None and theirs is not None and mine != theirs


@dataclass(frozen=True)
class Ranked:
    """A candidate for one sequence: why it fits, and how doubtful that is (0 not at all)."""

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
        found.append(Candidate(series, stack, index, scan, kind, agent_given(scan, rules)))
    return found


class Preference(NamedTuple):
    """What makes a candidate worse than another, the most important first; the smallest wins."""

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


def best(ranked: list[Ranked], plane: str) -> tuple[Ranked, str]:
    """The preferred one of ``ranked`` (with stacks), and a sentence that says over what and why ("" if alone)."""
    coverage = {id(r): _coverage(r.candidate) for r in ranked}
    largest = max(coverage.values())

    def preference(r: Ranked) -> Preference:
        grid = _grid(r.candidate)
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
    grid = _grid(candidate)
    return float(np.prod(np.minimum(np.asarray(grid.shape) * grid.spacing, _HEAD)) / 1000.0)


def _grid(candidate: Candidate) -> Grid:
    assert candidate.stack is not None, "refused series are not ranked"
    return candidate.stack.grid


def _isotropic(grid: Grid) -> bool:
    return bool(grid.spacing.max() <= _ISOTROPIC * grid.spacing.min())


def sequence_names(sequences: Iterable[Sequence]) -> str:
    """For example "T1c and FLAIR"."""
    names = [s.value for s in sequences]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
