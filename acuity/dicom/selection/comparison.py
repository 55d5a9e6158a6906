"""Compare T1-weighted scans of one protocol in pairs: only an agent makes tissue of the later one brighter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from acuity.dicom.reading.study import Stack
from acuity.dicom.selection.candidate import Candidate
from acuity.dicom.selection.enhancement import Enhancement, measure_enhancement
from acuity.volume import Volume

Load = Callable[[Stack], Volume]


@dataclass(frozen=True)
class Change:
    """The change of intensity between an earlier and a later scan of one protocol."""

    earlier: Candidate
    later: Candidate
    enhancement: Enhancement

    @property
    def enhanced(self) -> Candidate | None:
        """The scan that is shown to be enhanced against the other.

        A scan cannot lose its enhancement: a darker later scan counts only where no time orders them.
        """
        verdict = self.enhancement.verdict
        if verdict > 0:
            return self.later
        return self.earlier if verdict < 0 and not self.later.timed_against(self.earlier) else None

    def __str__(self) -> str:
        """Why one of the two is T1c, for people."""
        if self.enhancement.verdict < 0:
            return f"enhanced against {self.later} ({self.enhancement} in the latter)"
        after = "acquired later than" if self.later.timed_against(self.earlier) else "numbered after"
        return f"{after} {self.earlier} and enhanced against it ({self.enhancement})"


def changes_between(ordered: list[Candidate], load: Load) -> list[Change]:
    """Each scan against the earliest (best in its plane) and the last one of its protocol before it.

    Raises
    ------
    UnreadablePixelsError
        The pixels of a scan cannot be decoded.
    """
    loaded: dict[int, Volume] = {}

    def volume(c: Candidate) -> Volume:
        if id(c) not in loaded:
            loaded[id(c)] = load(c.readable_stack)
        return loaded[id(c)]

    changes = []
    for n, c in enumerate(ordered):
        alike = [e for e in ordered[:n] if e.same_protocol(c)]
        same_plane = [e for e in alike if e.scan.plane == c.scan.plane]
        for e in {id(e): e for e in ((same_plane or alike)[:1] + alike[-1:])}.values():
            earlier, later = (e, c) if e.earlier_than(c) else (c, e)
            changes.append(Change(earlier, later, measure_enhancement(volume(earlier), volume(later))))
    return changes
