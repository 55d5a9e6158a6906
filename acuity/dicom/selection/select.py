"""Choose T1, T1c, T2 and FLAIR among the series of a study, each with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from acuity.anatomy import Sequence
from acuity.dicom.reading.read import load_stack, raise_refusal
from acuity.dicom.reading.study import Series, Stack, Study
from acuity.dicom.selection.agents import NAMED, Agent
from acuity.dicom.selection.candidate import (
    Candidate,
    RankedCandidate,
    candidates_of,
    common_plane,
    preferred,
    sequence_names,
)
from acuity.dicom.selection.classify import Evidence
from acuity.dicom.selection.contrast import Load, divide
from acuity.dicom.selection.rules import Pin, Rules, default_rules
from acuity.errors import AcuityError, AmbiguousSequenceError, MissingSequenceError, RulesError, SeriesError

_REMEDY = "If a series is one of them, name it by UID (T1=UID) or in a rule file; `acuity inspect STUDY` lists all."


@dataclass(frozen=True)
class Choice:
    """The volume chosen for a sequence.

    Parameters
    ----------
    reason : a sentence or two
    evidence : what says that it is this sequence: the timing in its header, its name, its pixels, or the user
    margin : points by which T1 was told from T1c, of which ``contrast.MARGIN`` are needed; None where there was one
        T1-weighted volume, and for T2 and FLAIR
    others : the other candidates, the next best first, each with what is worse in it
    """

    series: Series
    stack: Stack
    reason: str
    evidence: Evidence = "header"
    margin: int | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """The chosen volumes, and an account of all series.

    Parameters
    ----------
    choices : in the order T1, T1c, T2, FLAIR; complete unless it comes from ``examine``
    problems : the error for each sequence that could not be chosen
    findings : for each series UID the class of the series, and the reason
    """

    choices: dict[Sequence, Choice]
    problems: Mapping[Sequence, AcuityError]
    findings: Mapping[str, str]


def select_sequences(
    study: Study, rules: Rules | None = None, overrides: dict[Sequence, str] | None = None, load: Load = load_stack
) -> Selection:
    """Choose the four sequences of a brain tumor study.

    Parameters
    ----------
    study : as ``read_study`` gives it
    rules : ``default_rules()`` if None
    overrides : SeriesInstanceUID of sequences that the user names; they come before rules
    load : reads the pixels of a stack; called only where headers do not tell T1c from T1

    Returns
    -------
    A complete selection.

    Raises
    ------
    SeriesError
        Of the kind that refused a series, where it is the only one that can be the sequence.
    MissingSequenceError
        A sequence is not there; the message lists what is.
    AmbiguousSequenceError
        Several volumes can be a sequence and nothing tells which is.
    RulesError
        A series that the user names is not in the study or cannot be told.
    """
    selection = examine(study, rules, overrides, load)
    require(selection)
    return selection


def require(selection: Selection) -> None:
    """Raise the gravest problem of a selection, as ``select_sequences`` does."""
    problems = list(selection.problems.values())
    for kind in (SeriesError, AmbiguousSequenceError):
        for problem in problems:
            if isinstance(problem, kind):
                raise problem
    if problems:
        raise problems[0]


def examine(
    study: Study, rules: Rules | None = None, overrides: dict[Sequence, str] | None = None, load: Load = load_stack
) -> Selection:
    """As ``select_sequences``, but with the sequences that can be chosen and the errors of the others.

    Raises
    ------
    RulesError
        A series that the user names is not in the study or cannot be told.
    """
    rules = rules or default_rules()
    pins = dict(rules.series) | {sequence: Pin(uid=uid) for sequence, uid in (overrides or {}).items()}
    candidates = _mark_named(candidates_of(study, rules), pins)
    ranked, problems = _rank(candidates, load)
    findings = _findings(candidates, ranked)
    plane = common_plane(candidates)
    chosen: dict[Sequence, Candidate] = {}
    choices: dict[Sequence, Choice] = {}
    for sequence in (Sequence.T1C, Sequence.T1, Sequence.T2, Sequence.FLAIR):
        named = [c for c in candidates if c.named is sequence]
        fitting = [RankedCandidate(c, "named by the user") for c in named] or [
            r for r in ranked[sequence] if r.candidate.named is None
        ]
        if any(r.candidate.stack is not None for r in fitting):
            problems.pop(sequence, None)
            like = chosen.get(Sequence.T1C) if sequence is Sequence.T1 else None
            chosen[sequence], choices[sequence] = _choose(sequence, fitting, plane, like)
        else:
            refusal = _refusal(sequence, named or candidates)
            if refusal is not None:
                problems[sequence] = refusal
    absent = [s for s in Sequence if s not in choices and s not in problems]
    problems |= dict.fromkeys(absent, _missing(absent, study, findings))
    return Selection({s: choices[s] for s in Sequence if s in choices}, problems, findings)


def _rank(
    candidates: list[Candidate], load: Load
) -> tuple[dict[Sequence, list[RankedCandidate]], dict[Sequence, AcuityError]]:
    """The readable candidates of each sequence; T1 and T1c told apart."""
    readable = [c for c in candidates if c.stack is not None]
    ranked = {
        s: [RankedCandidate(c, "") for c in readable if c.kind.sequence is s] for s in (Sequence.T2, Sequence.FLAIR)
    }
    problems: dict[Sequence, AcuityError] = {}
    try:
        division = divide([c for c in readable if c.kind.sequence is Sequence.T1], load)
    except SeriesError as error:  # pixels that were needed to tell T1c from T1 cannot be read
        ranked[Sequence.T1], ranked[Sequence.T1C] = [], []
        problems = {Sequence.T1: error, Sequence.T1C: error}
    else:
        ranked[Sequence.T1], ranked[Sequence.T1C] = division.without, division.with_agent
        problems.update(division.problems)
    return ranked, problems


def _choose(
    sequence: Sequence, ranked: list[RankedCandidate], plane: str, like: Candidate | None
) -> tuple[Candidate, Choice]:
    winner, others = preferred(ranked, plane, like, latest=sequence is Sequence.T1C)
    c = winner.candidate
    name = str(c)
    reasons = "; ".join(text for text in (c.kind.reason, winner.why) if text)
    warnings = [f"Warning: {text}" for text in (c.kind.warning, c.agent.warning) if text]
    over = [f"Preferred to {'; '.join(others)}."] if others else []
    reason = " ".join([f"{name[0].upper()}{name[1:]}: {reasons}.", *over, *warnings])
    return c, Choice(c.series, c.readable_stack, reason, c.kind.evidence, winner.margin, tuple(others))


def _refusal(sequence: Sequence, candidates: list[Candidate]) -> SeriesError | None:
    """The error of the first refused series that may be ``sequence``, worded for it."""
    for c in candidates:
        if c.stack is None and _may_be(c, sequence):
            try:
                raise_refusal(c.series)
            except SeriesError as refusal:
                found = f"{sequence.value} can only be {c}, which is refused: {refusal.found}"
                return type(refusal)(found, rule=refusal.rule, remedy=refusal.remedy)
    return None


def _may_be(c: Candidate, sequence: Sequence) -> bool:
    if c.kind.sequence is Sequence.T1 and sequence in (Sequence.T1, Sequence.T1C):
        return c.agent.given is not (sequence is Sequence.T1)  # None, where nothing is known, may be either
    return c.kind.sequence is sequence


def _missing(sequences: list[Sequence], study: Study, findings: Mapping[str, str]) -> MissingSequenceError:
    """One error for all missing sequences, with a list of what there is."""
    listed = "; ".join(f"'{s.description}' {findings[s.series_uid]}" for s in study.series) or "nothing"
    verb = "was" if len(sequences) == 1 else "were"
    error = MissingSequenceError(
        f"{sequence_names(sequences)} {verb} not found among {len(study.series)} series: {listed}.",
        rule="A study needs T1, T1c, T2 and FLAIR of the brain.",
        remedy=_REMEDY,
    )
    error.missing = tuple(sequence.value for sequence in sequences)
    return error


def _findings(candidates: list[Candidate], ranked: Mapping[Sequence, list[RankedCandidate]]) -> dict[str, str]:
    """For each series its class and the reason, for example "is T2 (SE, TR 4000, TE 100 ms: ...)"."""
    sequences = {id(r.candidate): (s, r.why) for s, rs in ranked.items() for r in rs}
    texts: dict[str, list[str]] = {}
    for c in candidates:
        sequence, why = sequences.get(id(c), (c.kind.sequence, ""))
        name = "is none" if sequence is None else f"is {sequence.value}"
        if sequence is Sequence.T1 and id(c) not in sequences:
            name = "is T1 or T1c"
        text = f"{name} ({'; '.join(filter(None, (c.kind.reason, why)))})"
        if c.series.verdict != "ok":
            text = f"is refused ({c.series.code}) and {text}"
        if text not in texts.setdefault(c.series.series_uid, []):
            texts[c.series.series_uid].append(text)
    return {uid: ", ".join(parts) for uid, parts in texts.items()}


def _mark_named(candidates: list[Candidate], pins: Mapping[Sequence, Pin]) -> list[Candidate]:
    """Mark the candidates that the user names, and give them the kind of the named sequence."""
    for sequence, pin in pins.items():
        matching = [c for c in candidates if pin.matches(c.series.series_uid, c.series.description, c.scan.number)]
        series = {c.series.series_uid for c in matching}
        if len(series) != 1:
            count = "no series" if not series else f"{len(series)} series"
            raise RulesError(
                f"{sequence.value} is named by {pin}, and {count} of the study match.",
                rule="A name matches one series.",
                remedy="Take the UID from `acuity inspect STUDY --json`.",
            )
        chosen = _one_volume(sequence, matching)
        if chosen.named is not None:
            raise RulesError(
                f"{chosen} is named for both {chosen.named.value} and {sequence.value}.",
                rule="A volume is one sequence.",
                remedy="Name another series for one of them.",
            )
        candidates = [_as_named(c, sequence) if c is chosen else c for c in candidates]
    return candidates


def _one_volume(sequence: Sequence, volumes: list[Candidate]) -> Candidate:
    """The one volume of a named series that fits; of a T1 before and after an agent, the first or the last."""
    if len(volumes) == 1:
        return volumes[0]
    kind = Sequence.T1 if sequence is Sequence.T1C else sequence
    fitting = [c for c in volumes if c.kind.sequence is kind]
    if len(fitting) == 2 and kind is Sequence.T1 and fitting[0].timed_against(fitting[1]):
        fitting = [c for c in fitting if all(c is o or c.earlier_than(o) == (sequence is Sequence.T1) for o in fitting)]
    if len(fitting) != 1:
        raise RulesError(
            f"{sequence.value} is named by a series that holds {len(volumes)} volumes, of which "
            f"{len(fitting)} can be it.",
            rule="A name leads to one volume.",
            remedy="Name another series, or export the volume as a series of its own.",
        )
    return fitting[0]


def _as_named(c: Candidate, sequence: Sequence) -> Candidate:
    kind = Sequence.T1 if sequence is Sequence.T1C else sequence
    warning, agent = c.kind.warning, c.agent
    if c.kind.sequence is not kind:
        warning = f"By the rules it would not be {kind.value}: {c.kind.reason}."
    if kind is Sequence.T1:
        given = sequence is Sequence.T1C
        agent = Agent(given, "named by the user", weight=NAMED if given else -NAMED)
    return replace(
        c, named=sequence, kind=replace(c.kind, sequence=kind, warning=warning, evidence="user"), agent=agent
    )
