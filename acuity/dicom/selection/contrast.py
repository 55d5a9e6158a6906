"""Tell T1 from T1c among T1-weighted volumes.

An agent stays for an hour: what is acquired after an enhanced scan is enhanced, too. Every division of the scans into
those before and those after the agent that obeys this is therefore scored by three kinds of evidence, in order of
weight: intensities of scans of one protocol, the header, and the name. The best division holds for a scan if every
division that has this scan on the other side is worse by a margin; a scan without that margin is left undecided.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product

from acuity.anatomy import Sequence
from acuity.dicom.selection.agents import BY_NAME, DOUBTFUL, NAMED, STATED
from acuity.dicom.selection.candidate import Candidate, RankedCandidate
from acuity.dicom.selection.comparison import Change, Load, changes_between
from acuity.errors import AmbiguousSequenceError, MissingSequenceError, SelectionError

__all__ = ["MARGIN", "Division", "Load", "divide"]

# Points of a division; those of header and name are in ``agents``. A margin of 3 takes a name, and no doubt.
_SHOWN = 12  # a pair of scans is on the two sides that its intensities show
_UNCHANGED = 1  # a pair without a change is on one side; an agent may escape notice
_SILENT_BEFORE, _SILENT_AFTER = (
    -4,
    -2,
)  # nothing is said of an agent, though another scan's header or name speaks of one
MARGIN = 3
_FREE = 10  # scans whose order no time tells, up to which every division is tried

_Side = tuple[bool, ...]  # for each scan in order whether it is enhanced


@dataclass
class Division:
    """T1 candidates and T1c candidates, and the errors to raise where one of the lists stays empty."""

    without: list[RankedCandidate] = field(default_factory=list)
    with_agent: list[RankedCandidate] = field(default_factory=list)
    problems: dict[Sequence, SelectionError] = field(default_factory=dict)


def divide(candidates: list[Candidate], load: Load) -> Division:
    """Divide T1-weighted ``candidates`` (all with stacks) into those before and after a contrast agent.

    Pixels are read, with ``load``, wherever more than one of them could be T1c. Undecided ones are in neither list.

    Raises
    ------
    UnreadablePixelsError
        When pixels are needed and cannot be decoded.
    """
    ordered = _in_order(candidates)
    if not ordered:
        return Division()
    if len(ordered) == 1:
        ranked = [RankedCandidate(ordered[0], ordered[0].agent.reason)]
        return Division(with_agent=ranked) if ordered[0].agent.given else Division(ranked)
    changes = changes_between(ordered, load) if _need_pixels(ordered) else []
    sides, margins = _sides(ordered, changes)
    enhanced = {id(c) for c, side in zip(ordered, sides, strict=True) if side}
    proven = [c for c in ordered if id(c) in enhanced and (c.agent.weight > 0 or _shown(c, changes))]
    division = Division()
    for c, side, margin in zip(ordered, sides, margins, strict=True):
        if side:
            division.with_agent.append(replace(_with_agent(c, proven, changes), margin=margin))
        elif side is not None:
            division.without.append(RankedCandidate(c, _why_without(c, proven, changes), margin=margin))
    division.problems = _problems(ordered, division, changes)
    return division


def _in_order(candidates: list[Candidate]) -> list[Candidate]:
    """Sort by time of acquisition; by series number where a time is missing."""
    timed = all(c.scan.acquired is not None for c in candidates)
    return sorted(candidates, key=lambda c: (c.scan.acquired if timed else 0.0, c.scan.number, c.index))


def _need_pixels(ordered: list[Candidate]) -> bool:
    """Whether more than one scan could be T1c: not if one states an agent and all others deny it or one comes before.

    A name is believed only where the names of all others deny.
    """
    claiming = [c for c in ordered if c.agent.weight > 0]
    denying = [c for c in ordered if c.agent.weight < 0]
    others = len(ordered) - 1
    if not claiming and len(denying) == len(ordered):
        return False
    if len(claiming) != 1 or claiming[0].agent.weight < BY_NAME or claiming[0] is not ordered[-1]:
        return not all(abs(c.agent.weight) >= NAMED for c in ordered)
    return len(denying) != others and not (others == 1 and claiming[0].agent.weight >= STATED)


def _sides(ordered: list[Candidate], changes: list[Change]) -> tuple[list[bool | None], list[int | None]]:
    """For each scan whether it is enhanced (None where that is not certain), and the margin in points.

    The margin is None where no division with the scan on the other side is possible.
    """
    weights = [_weight(c, ordered) for c in ordered]
    positions = {id(c): n for n, c in enumerate(ordered)}
    scores: dict[_Side, int] = {}
    for sides in _possible(ordered):
        evidence = sum(weight for weight, side in zip(weights, sides, strict=True) if side)
        for change in changes:
            evidence += _points(change, sides[positions[id(change.earlier)]], sides[positions[id(change.later)]])
        scores[sides] = evidence
    best = max(scores, key=lambda sides: scores[sides])
    rivals = [
        max((score for sides, score in scores.items() if sides[n] != side), default=None) for n, side in enumerate(best)
    ]
    margins = [None if rival is None else scores[best] - rival for rival in rivals]
    certain = [margin is None or margin >= MARGIN for margin in margins]
    return [side if sure else None for side, sure in zip(best, certain, strict=True)], margins


def _possible(ordered: list[Candidate]) -> list[_Side]:
    """All divisions in which no scan is enhanced before one that is not."""
    count = len(ordered)
    splits = [tuple(n >= first for n in range(count)) for first in range(count + 1)]
    pairs = [(n, m) for n in range(count) for m in range(count) if n != m and ordered[n].timed_against(ordered[m])]
    if count > _FREE or len(pairs) == count * (count - 1):
        return splits
    before = [(n, m) for n, m in pairs if ordered[n].earlier_than(ordered[m])]
    return [s for s in product((False, True), repeat=count) if all(s[m] or not s[n] for n, m in before)]


def _weight(c: Candidate, ordered: list[Candidate]) -> int:
    """Points for taking ``c`` for enhanced, by header and name."""
    weight = c.agent.weight
    claims = [o for o in ordered if o is not c and o.agent.weight > 0]
    if weight == 0 and claims:
        return _SILENT_AFTER if any(o.timed_against(c) and o.earlier_than(c) for o in claims) else _SILENT_BEFORE
    # An agent may be registered before it is injected: only the last of several statements is sure to be true.
    later = any(c.earlier_than(o) or not c.timed_against(o) for o in claims)
    return min(weight, DOUBTFUL) if later and weight < NAMED else weight


def _points(change: Change, earlier: bool, later: bool) -> int:
    """Points of one pair for the sides of its two scans."""
    if change.enhancement.verdict == 0:
        return _UNCHANGED if earlier == later else 0
    if change.enhanced is None or earlier == later:
        return 0
    return _SHOWN if (change.enhanced is change.later) == later else -_SHOWN


def _shown(c: Candidate, changes: list[Change]) -> Change | None:
    return next((change for change in changes if change.enhanced is c), None)


def _with_agent(c: Candidate, proven: list[Candidate], changes: list[Change]) -> RankedCandidate:
    """``c`` as T1c with the reasons; less certain where only a scan before it tells, and least against its name."""
    change = _shown(c, changes)
    reasons = [c.agent.reason] if c.agent.weight > 0 else []
    reasons += [str(change)] if change else []
    if reasons:
        return RankedCandidate(c, "; ".join(reasons))
    denied = c.agent.weight < 0
    first = next((o for o in proven if o.earlier_than(c)), None)
    why = f"acquired after {first}, {_how(first)}" if first else "on the side of the enhanced scans"
    return RankedCandidate(c, why + (" though its name says otherwise" if denied else ""), 2 if denied else 1)


def _why_without(c: Candidate, proven: list[Candidate], changes: list[Change]) -> str:
    if c.agent.weight < 0 or not proven:
        return c.agent.reason
    compared = next((x for x in changes if x.earlier is c and x.enhanced is x.later), None)
    if compared is None or proven[0].agent.weight > 0:
        return f"acquired before {proven[0]}, {_how(proven[0])}"
    return f"not enhanced, unlike {compared.later}"


def _how(c: Candidate) -> str:
    return "for which a contrast agent had been given" if c.agent.weight > 0 else "which is enhanced"


def _problems(ordered: list[Candidate], division: Division, changes: list[Change]) -> dict[Sequence, SelectionError]:
    """The error of each sequence without a candidate, though there are T1-weighted volumes."""
    undecided = len(division.with_agent) + len(division.without) < len(ordered)
    problems: dict[Sequence, SelectionError] = {}
    if not division.with_agent and undecided:
        problems[Sequence.T1C] = _ambiguous(ordered, changes)
    if not division.without and undecided:
        problems[Sequence.T1] = _ambiguous(ordered, changes)
    elif not division.without and all(c.agent.given for c in ordered):
        problems[Sequence.T1] = MissingSequenceError(
            f"All {len(ordered)} T1-weighted volumes state a contrast agent, and no intensity change tells them apart.",
            rule="T1 is a scan without contrast agent.",
            remedy="If one was acquired before the agent, name it: T1=UID.",
        )
    return problems


def _ambiguous(ordered: list[Candidate], changes: list[Change]) -> AmbiguousSequenceError:
    tried = "; ".join(f"{x.later} against {x.earlier}: {x.enhancement}" for x in changes)
    names = ", ".join(str(c) for c in ordered)
    stated = any(c.agent.weight > 0 for c in ordered)
    said = "header and name do not settle which follow a contrast agent" if stated else "none states a contrast agent"
    return AmbiguousSequenceError(
        f"{len(ordered)} T1-weighted volumes ({names}): {said}, and "
        + (f"no enhancement can be shown ({tried})." if tried else "no two are of one protocol, to be compared."),
        rule="T1c is told from T1 by its header or name, or by an enhancement against an earlier scan.",
        remedy="Name the series: T1=UID and T1c=UID, or in a rule file.",
    )
