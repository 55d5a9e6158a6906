"""Tell T1 from T1c among T1-weighted volumes.

Sources of evidence in order of trust: the header's statement of a contrast agent; the name; the time (an agent stays
for an hour, so every scan after an enhanced one is enhanced too); and where all of these are silent, the
intensities of a scan against an earlier one of the same protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from acuity.anatomy import Sequence
from acuity.dicom.reading.study import Stack
from acuity.dicom.selection.agents import Agent
from acuity.dicom.selection.candidate import Candidate, RankedCandidate
from acuity.dicom.selection.enhancement import Enhancement, measure_enhancement
from acuity.errors import AmbiguousSequenceError, MissingSequenceError, SelectionError
from acuity.volume import Volume

Load = Callable[[Stack], Volume]


@dataclass
class Division:
    """T1 candidates and T1c candidates, and the errors to raise where one of the lists stays empty."""

    without: list[RankedCandidate] = field(default_factory=list)
    with_agent: list[RankedCandidate] = field(default_factory=list)
    problems: dict[Sequence, SelectionError] = field(default_factory=dict)

    def add(self, candidate: Candidate, given: bool, why: str, doubt: int = 0) -> None:
        """Put a candidate before or after the agent."""
        (self.with_agent if given else self.without).append(RankedCandidate(candidate, why, doubt))


def divide(candidates: list[Candidate], load: Load) -> Division:
    """Divide T1-weighted ``candidates`` (all with stacks) into those before and after a contrast agent.

    Pixels are read, with ``load``, only where headers do not decide.

    Raises
    ------
    UnreadablePixelsError
        When pixels are needed and cannot be decoded.
    """
    ordered = _in_order(candidates)
    if len(ordered) > 1 and all(c.agent.given for c in ordered):
        return _all_stated(ordered, load)
    stated = [c for c in ordered if c.agent.given]
    if stated:
        return _by_stated_agent(ordered, stated[0], load)
    if len(ordered) < 2 or all(c.agent.given is False for c in ordered):
        return Division([RankedCandidate(c, c.agent.reason) for c in ordered])
    return _by_intensity(ordered, load)


def _in_order(candidates: list[Candidate]) -> list[Candidate]:
    """Sort by time of acquisition; by series number where a time is missing."""
    timed = all(c.scan.acquired is not None for c in candidates)
    return sorted(candidates, key=lambda c: (c.scan.acquired if timed else 0.0, c.scan.number, c.index))


def _by_stated_agent(ordered: list[Candidate], first: Candidate, load: Load) -> Division:
    """Scans from the ``first`` one that states an agent on are T1c, earlier ones are T1."""
    division = Division()
    before: list[Candidate] = []
    for c in ordered:
        denied, later = c.agent.given is False, not c.earlier_than(first)
        if c.agent.given:
            division.add(c, True, c.agent.reason)
        elif not later or (denied and not c.timed_against(first)):
            before.append(c)
        else:
            contradicted = " though its name says otherwise" if denied else ""
            why = f"acquired after {first}, for which the agent had been given{contradicted}"
            division.add(c, True, why, 2 if denied else 1)
    changes = _compare(before, load)
    for c in before:
        change = changes.get(id(c))
        if change is not None and change.enhancement.verdict > 0:
            division.add(c, True, str(change), 1)
        elif c.agent.given is False:
            division.add(c, False, c.agent.reason)
        else:
            why = f"acquired before {first}, for which a contrast agent had been given"
            division.add(c, False, why, int(c is not before[0]))
    return division


def _by_intensity(ordered: list[Candidate], load: Load) -> Division:
    """No scan states an agent: intensities must show one."""
    changes = _compare(ordered, load)
    enhanced = {id(x.later if x.enhancement.verdict > 0 else x.earlier): x for x in changes.values() if x.decides}
    if not enhanced:
        return _undecided(ordered, list(changes.values()))
    first = next(c for c in ordered if id(c) in enhanced)
    compared = {id(x.earlier) for x in changes.values()} | changes.keys()
    division = Division()
    for c in ordered:
        if id(c) in enhanced:
            division.add(c, True, str(enhanced[id(c)]))
        elif c.agent.given is False:
            division.add(c, False, c.agent.reason)
        elif id(c) in compared:
            later = c.timed_against(first) and not c.earlier_than(first)
            division.add(c, False, f"not enhanced, unlike {first}", int(later))
        elif c.earlier_than(first):
            division.add(c, False, f"acquired before {first}, which is enhanced", int(c is not ordered[0]))
        else:
            division.add(c, True, f"acquired after {first}, which is enhanced", 1)
    return division


def _all_stated(ordered: list[Candidate], load: Load) -> Division:
    """Every header states an agent, because it was registered with the examination: intensities must decide."""
    silent = [c if c.named else replace(c, agent=Agent(None, "")) for c in ordered]
    division = _by_intensity(silent, load)
    if division.problems:
        missing = MissingSequenceError(
            f"All {len(ordered)} T1-weighted volumes state a contrast agent, and no intensity change tells them apart.",
            rule="T1 is a scan without contrast agent.",
            remedy="If one was acquired before the agent, name it: T1=UID.",
        )
        return Division([], [RankedCandidate(c, c.agent.reason) for c in ordered], {Sequence.T1: missing})
    return division


@dataclass(frozen=True)
class _Change:
    """The change of intensity between an earlier and a later scan of one protocol."""

    earlier: Candidate
    later: Candidate
    enhancement: Enhancement

    @property
    def decides(self) -> bool:
        """A scan cannot lose its enhancement: a darker later scan counts only where no time orders them."""
        verdict = self.enhancement.verdict
        return verdict > 0 or (verdict < 0 and not self.later.timed_against(self.earlier))

    def __str__(self) -> str:
        """Why one of the two is T1c, for people."""
        if self.enhancement.verdict < 0:
            return f"enhanced against {self.later} ({self.enhancement} in the latter)"
        after = "acquired later than" if self.later.timed_against(self.earlier) else "numbered after"
        return f"{after} {self.earlier} and enhanced against it ({self.enhancement})"


def _compare(ordered: list[Candidate], load: Load) -> dict[int, _Change]:
    """Each scan that does not say "without agent" against the earliest of its protocol, by id of the scan."""
    changes: dict[int, _Change] = {}
    loaded: dict[int, Volume] = {}

    def volume(c: Candidate) -> Volume:
        if id(c) not in loaded:
            loaded[id(c)] = load(c.readable_stack)
        return loaded[id(c)]

    for n, c in enumerate(ordered):
        alike = [e for e in ordered[:n] if _same_protocol(e, c)]
        if c.agent.given is not False and alike:
            reference = next((e for e in alike if e.scan.plane == c.scan.plane), alike[0])
            changes[id(c)] = _Change(reference, c, measure_enhancement(volume(reference), volume(c)))
    return changes


def _same_protocol(one: Candidate, other: Candidate) -> bool:
    """Whether the contrast of two scans is so similar that only an agent makes tissue brighter."""
    a, b = one.scan, other.scan
    families = {"SE", "GR"}
    if a.scanning_sequence & families != b.scanning_sequence & families:
        return False
    return (
        _near(a.echo_time, b.echo_time, 0.3, 3.0)
        and _near(a.repetition_time, b.repetition_time, 0.5, 0.0)
        and _near(a.inversion_time, b.inversion_time, 0.3, 0.0)
    )


def _near(a: float | None, b: float | None, share: float, floor: float) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= max(floor, share * max(a, b))


def _undecided(ordered: list[Candidate], changes: list[_Change]) -> Division:
    tried = "; ".join(f"{x.later} against {x.earlier}: {x.enhancement}" for x in changes)
    names = ", ".join(str(c) for c in ordered)
    error = AmbiguousSequenceError(
        f"{len(ordered)} T1-weighted volumes ({names}): none states a contrast agent, and "
        + (f"no enhancement can be shown ({tried})." if tried else "no two are of one protocol, to be compared."),
        rule="T1c is told from T1 by its header or name, or by an enhancement against an earlier scan.",
        remedy="Name the series: T1=UID and T1c=UID, or in a rule file.",
    )
    certain = [RankedCandidate(c, c.agent.reason) for c in ordered if c.agent.given is False]
    problems: dict[Sequence, SelectionError] = {Sequence.T1C: error}
    if not certain:
        problems[Sequence.T1] = error
    return Division(certain, [], problems)
