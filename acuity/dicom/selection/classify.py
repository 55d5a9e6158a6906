"""Classify a scan from its headers alone: by physics first, by names where physics is silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from acuity.anatomy import Sequence
from acuity.dicom.reading.scan import Scan
from acuity.dicom.selection.rules import Rule, Rules

Evidence = Literal["header", "name", "pixels", "user"]


@dataclass(frozen=True)
class Kind:
    """The class of a scan.

    Parameters
    ----------
    sequence : T1 (with or without contrast agent), T2, FLAIR, or None
    reason : a clause with the deciding values
    warning : a sentence where physics and name contradict each other, or ""
    evidence : what the class rests on; the timing of the header comes before all but the user
    """

    sequence: Sequence | None
    reason: str
    warning: str = ""
    evidence: Evidence = "header"


def classify(scan: Scan, rules: Rules) -> Kind:
    """The kind of ``scan``; T1c comes back as T1, see ``agents``."""
    if scan.made_by_acuity:
        return Kind(None, "an output of Acuity, in which details were inferred and not measured")
    excluded = _first(rules.exclude, scan)
    if excluded is not None:
        return Kind(None, f"{excluded.name}: {excluded.reason}")
    physics, named = _first(rules.physics, scan), _first(rules.names, scan)
    if physics is not None:
        return Kind(physics.sequence, f"{scan.timing()}: {physics.reason}", _contradiction(physics, named))
    if named is not None and named.sequence is not None:
        why = (
            "the timing is missing"
            if scan.echo_time is None or scan.repetition_time is None
            else f"{scan.timing()} fits no rule"
        )
        return Kind(
            named.sequence,
            f"{why}; the name says {named.sequence.value}",
            f"{named.sequence.value} was chosen by name alone.",
            "name",
        )
    return Kind(
        None,
        f"{scan.timing()} and a name that say nothing of the contrast" if named is None else f"by name {named.name}",
    )


def _first(rules: tuple[Rule, ...], scan: Scan) -> Rule | None:
    return next((rule for rule in rules if rule.holds(scan)), None)


def _contradiction(physics: Rule, named: Rule | None) -> str:
    if named is None or named.sequence is None or named.sequence is physics.sequence:
        return ""
    kind = physics.sequence.value if physics.sequence else physics.name
    return f"Its name says {named.sequence.value}, but its timing says {kind}; the timing counts."
