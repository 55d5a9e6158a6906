"""Parts of one scan in several series, such as its lower and its upper half: they are one volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from acuity.dicom.reading.scan import Scan, scan_of
from acuity.dicom.reading.study import Series, Stack, Study
from acuity.volume import Grid

_OVERLAP = 3  # slices that both may hold; neighboring slabs are often planned so
_OFF_LATTICE = 0.1  # of a voxel's edge
_SAME = 0.01  # relative difference of times, angles and spacings of one protocol


def with_halves_joined(study: Study) -> Study:
    """The study with each stack that others continue joined to one stack, in the series of the first.

    Stacks continue one another where they lie on one lattice, end to end or with a few slices in common, in one frame
    of reference, and where all that the headers say of the acquisition is the same, the contrast agent included. The
    other series keeps its own stack, which covers less. Both get a warning.
    """
    parts = [_Part(s, n) for s in study.series if s.verdict == "ok" for n in range(len(s.stacks))]
    series = {s.series_uid: s for s in study.series}
    used: set[int] = set()
    for index, part in enumerate(parts):
        if index in used:
            continue
        joined = part
        while (found := _continuation(joined, parts, used | {index})) is not None:
            used.add(found)
            joined = joined.joined_with(parts[found])
            _note(series, part.series, f"It is joined with {parts[found].name}, which continues it.")
            _note(series, parts[found].series, f"It is joined with {part.name}, which it continues.")
        if joined is not part:
            host = series[part.series.series_uid]
            stacks = (*host.stacks[: part.number], joined.stack, *host.stacks[part.number + 1 :])
            series[host.series_uid] = replace(host, stacks=stacks)
    return replace(study, series=tuple(series[s.series_uid] for s in study.series))


class _Part:
    """A stack of a series, and its acquisition."""

    def __init__(self, series: Series, number: int, stack: Stack | None = None) -> None:
        self.series, self.number = series, number
        self.stack = stack or series.stacks[number]
        self.scan = scan_of(series, series.stacks[number])

    @property
    def name(self) -> str:
        """Without a description, which may name a patient."""
        return f"series {self.scan.number}"

    def joined_with(self, other: _Part) -> _Part:
        """Both, with the slices of the lower one where they overlap."""
        lower, upper = sorted(
            (self.stack, other.stack), key=lambda stack: float(stack.grid.direction[:, 2] @ stack.grid.origin)
        )
        start = _slices_between(lower.grid, upper.grid)
        datasets = lower.datasets[:start] + upper.datasets
        grid = Grid((*lower.grid.shape[:2], len(datasets)), lower.grid.affine)
        return _Part(self.series, self.number, replace(self.stack, grid=grid, datasets=datasets))


def _continuation(part: _Part, parts: list[_Part], used: set[int]) -> int | None:
    return next((n for n, other in enumerate(parts) if n not in used and _continues(part, other)), None)


def _continues(one: _Part, other: _Part) -> bool:
    """Whether two parts are of one scan, and one begins where the other ends."""
    a, b = one.stack, other.stack
    if a.frames is not None or b.frames is not None or not a.frame_of_reference_uid:
        return False
    if a.frame_of_reference_uid != b.frame_of_reference_uid or a.grid.shape[:2] != b.grid.shape[:2]:
        return False
    if not np.allclose(a.grid.spacing, b.grid.spacing, rtol=_SAME) or not _same_protocol(one.scan, other.scan):
        return False
    lower, upper = (
        (a.grid, b.grid) if (b.grid.origin - a.grid.origin) @ a.grid.direction[:, 2] > 0 else (b.grid, a.grid)
    )
    start = _slices_between(lower, upper)
    shifted = lower.affine.copy()
    shifted[:3, 3] += start * lower.affine[:3, 2]
    ends_meet = lower.shape[2] - _OVERLAP <= start <= lower.shape[2] and start > 0
    return ends_meet and Grid(upper.shape, shifted).same_as(upper, tolerance=_OFF_LATTICE * float(lower.spacing.min()))


def _slices_between(lower: Grid, upper: Grid) -> int:
    """Slices of ``lower`` below the first one of ``upper``."""
    return round(float((upper.origin - lower.origin) @ lower.direction[:, 2] / lower.spacing[2]))


def _same_protocol(a: Scan, b: Scan) -> bool:
    """Whether all that is known of both acquisitions agrees."""
    words = ("scanning_sequence", "sequence_variant", "scan_options", "image_type", "contrast", "inversions", "agent")
    if any(getattr(a, word) != getattr(b, word) for word in (*words, "b_value", "made_by_acuity")):
        return False
    numbers = ("repetition_time", "echo_time", "inversion_time", "flip_angle")
    return all(_near(getattr(a, name), getattr(b, name)) for name in numbers)


def _near(a: float | None, b: float | None) -> bool:
    return a == b if a is None or b is None else abs(a - b) <= _SAME * max(a, b)


def _note(series: dict[str, Series], one: Series, warning: str) -> None:
    held = series[one.series_uid]
    series[one.series_uid] = replace(held, warnings=(*held.warnings, warning))
