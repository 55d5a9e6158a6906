"""What a run would do with a study: which series can be read, which would be chosen, why, how surely, at what cost."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acuity.anatomy import Sequence
from acuity.assessment import if_allowed
from acuity.console import print_error
from acuity.dicom.reading.scan import scan_of
from acuity.dicom.reading.study import Series, Study
from acuity.dicom.selection.classify import Evidence
from acuity.dicom.selection.contrast import MARGIN
from acuity.dicom.selection.rules import default_rules, load_rules
from acuity.dicom.selection.select import Choice, Selection, examine, require
from acuity.errors import AcuityError, MissingSequenceError
from acuity.imaging.appearance import Opinion
from acuity.pipeline.confirmation import opinions, require_agreement
from acuity.pipeline.cost import Cost, estimate_cost
from acuity.pipeline.options import MAX_SPACING
from acuity.pipeline.preparation import REFERENCE, prepare
from acuity.pipeline.result import describe_error, exit_code_of
from acuity.pipeline.study import read_dicom, series_number, series_uids

_logger = logging.getLogger(__name__)

_WIDTH = 80  # characters, where the output is no terminal
_SAYS: Mapping[Evidence, str] = {
    "header": "by its header",
    "name": "by its name alone",
    "pixels": "by its pixels",
    "user": "named by you",
}


def inspect(folder: Path, *, rules: Path | None, named: Mapping[Sequence, str], as_json: bool, pixels: bool) -> int:
    """Print how the series of a study would be read and chosen; a sequence without a series is named on stderr.

    Parameters
    ----------
    folder : of the study; or a DICOMDIR, or a file
    rules : file with rules that replace the built-in ones
    named : for sequences, the SeriesInstanceUIDs that the user gives, or "#" and the Series Number
    as_json : print what ``describe`` gives in place of paragraphs
    pixels : also read the chosen series, and say whether their pixels agree; only where all are chosen

    Returns
    -------
    The exit code that a run would end with if nothing but the choice of series could refuse the study; with
    ``pixels``, also what a run refuses when it prepares them.

    Raises
    ------
    AcuityError
        As ``read_dicom``, ``series_uids``, ``load_rules`` and ``examine`` raise.
    """
    study = read_dicom(folder)
    selection = examine(study, load_rules(rules) if rules else default_rules(), series_uids(study, named))
    refusal = _refusal(selection)
    found, contradiction = _second_opinion(selection) if pixels and refusal is None else ({}, None)
    for path, why in study.ignored:
        _logger.info("passed over %s: %s", path, why)
    if as_json:
        json.dump(describe(study, selection, found, contradiction), sys.stdout, indent=2)
        print()
    else:
        _print_series(study, selection)
        _print_choices(selection, found, contradiction)
    errors: dict[str, list[str]] = {}
    for sequence, problem in selection.problems.items():
        errors.setdefault(f"{problem.code}: {problem}", []).append(sequence.value)
    for text, sequences in errors.items():
        print(f"acuity: no {', '.join(sequences)}: {text}", file=sys.stderr)
    if errors and all(isinstance(problem, MissingSequenceError) for problem in selection.problems.values()):
        print(f"acuity: {if_allowed(selection.choices)}", file=sys.stderr)
    if contradiction is not None:
        print_error(contradiction)
    return exit_code_of(refusal or contradiction)


def _second_opinion(selection: Selection) -> tuple[Mapping[Sequence, Opinion], AcuityError | None]:
    """What the pixels say of each choice, and the refusal of a run that prepares them.

    Raises
    ------
    AcuityError : the series cannot be prepared, see ``prepare``
    """
    found = opinions(prepare(selection))
    try:
        require_agreement(selection, found)
    except AcuityError as error:
        return found, error
    return found, None


def _refusal(selection: Selection) -> AcuityError | None:
    """What a run would refuse the study for."""
    try:
        require(selection)
    except AcuityError as error:
        return error
    return None


def describe(
    study: Study,
    selection: Selection,
    found: Mapping[Sequence, Opinion],
    contradiction: AcuityError | None,
) -> dict[str, Any]:
    """What ``--json`` prints.

    Returns
    -------
    ``{"series": [{series_uid, number, description, modality, verdict, code, reason, volumes, sequence}], "selection",
    "run"}``. ``volumes`` holds for each volume of the series its ``shape`` (voxels along i, j, k) and ``affine`` (4x4,
    LPS mm). ``selection`` holds for each sequence ``{series_uid, evidence, margin, margin_needed, others}`` as
    ``Choice`` has them, with ``pixels`` where these were read, or ``{error}``. ``run`` holds the ``exit_code`` and the
    ``cost`` (see ``Cost``; null where the reference is not chosen).
    """
    refusal, cost = _refusal(selection) or contradiction, _cost(selection)
    sequences = {c.series.series_uid: s.value for s, c in reversed(list(selection.choices.items()))}
    return {
        "series": [
            {
                "series_uid": series.series_uid,
                "number": series_number(series) or None,
                "description": series.description,
                "modality": series.modality,
                "verdict": series.verdict,
                "code": series.code,
                "reason": _reason(series, selection),
                "volumes": [{"shape": list(s.grid.shape), "affine": s.grid.affine.tolist()} for s in series.stacks],
                "sequence": sequences.get(series.series_uid),
            }
            for series in study.series
        ],
        "selection": {sequence.value: _describe_choice(sequence, selection, found) for sequence in Sequence},
        "run": {"exit_code": exit_code_of(refusal), "cost": cost.describe() if cost else None},
    }


def _describe_choice(sequence: Sequence, selection: Selection, found: Mapping[Sequence, Opinion]) -> dict[str, Any]:
    if sequence not in selection.choices:
        return {"error": describe_error(selection.problems[sequence])}
    choice = selection.choices[sequence]
    return {
        "series_uid": choice.series.series_uid,
        "evidence": choice.evidence,
        "margin": choice.margin,
        "margin_needed": None if choice.margin is None else MARGIN,
        "others": list(choice.others),
        **({"pixels": found[sequence].describe()} if sequence in found else {}),
    }


def _cost(selection: Selection) -> Cost | None:
    reference = selection.choices.get(REFERENCE)
    return estimate_cost(reference.stack.grid, (MAX_SPACING,) * 3) if reference else None


def _reason(series: Series, selection: Selection) -> str:
    """Why a series is refused, chosen, or neither, with the warnings of the reader."""
    chosen = [c.reason for c in selection.choices.values() if c.series.series_uid == series.series_uid]
    if series.verdict != "ok":
        text = series.reason
    elif chosen:
        text = " ".join(chosen)
    else:
        text = f"Not chosen: {selection.findings[series.series_uid]}."
    return " ".join([text, *(f"Warning: {warning}" for warning in series.warnings)])


def _print_series(study: Study, selection: Selection) -> None:
    """One paragraph a series: number, description and sequence or verdict; UID; volumes; timing; reason."""
    width = _width()
    indent = " " * 6
    for series, entry in zip(study.series, describe(study, selection, {}, None)["series"], strict=True):
        verdict = entry["sequence"] or ("-" if entry["verdict"] == "ok" else entry["code"])
        room = width - len(indent) - len(verdict) - 1
        number = f"#{entry['number']}" if entry["number"] else "-"
        print(f"{number:<6}{textwrap.shorten(series.description, room, placeholder=' ...'):<{room}} {verdict}")
        print(f"{indent}{series.series_uid}")
        for stack in series.stacks:
            shape = " x ".join(str(n) for n in stack.grid.shape)
            print(f"{indent}{shape} voxels, {' x '.join(f'{mm:.3g}' for mm in stack.grid.spacing)} mm")
        timing = scan_of(series, series.stacks[0] if series.stacks else None).timing()
        print(f"{indent}{', '.join(filter(None, (series.modality, timing)))}")
        print(textwrap.fill(entry["reason"], width, initial_indent=indent, subsequent_indent=indent), end="\n\n")
    if study.ignored:
        print(f"{len(study.ignored)} files were passed over (-v lists them).")


def _print_choices(selection: Selection, found: Mapping[Sequence, Opinion], contradiction: AcuityError | None) -> None:
    """One paragraph a sequence: the series, how sure it is, and the next best; then the end and the cost of a run."""
    indent = " " * 6
    for sequence in Sequence:
        choice = selection.choices.get(sequence)
        if choice is None:
            text = f"none ({selection.problems[sequence].code})"
        else:
            name = f"'{choice.series.description}'" if choice.series.description else ""
            text = f"#{series_number(choice.series)} {name}".strip() + f", {_SAYS[choice.evidence]}{_sure(choice)}."
            text += f" Next best: {choice.others[0]}." if choice.others else ""
            text += f" Pixels: {found[sequence].verdict}; {found[sequence].reason}." if sequence in found else ""
        print(textwrap.fill(f"{sequence.value:<6}{text}", _width(), subsequent_indent=indent))
    print("To name a series: --series T1c=#NUMBER or --series T1c=UID")
    refusal, cost = _refusal(selection) or contradiction, _cost(selection)
    end = f"A run would end with {refusal.exit_code} ({refusal.code})" if refusal else f"A run takes {cost}"
    print(textwrap.fill(f"{end}.", _width()))


def _sure(choice: Choice) -> str:
    """The margin of T1 and T1c, for people."""
    return "" if choice.margin is None else f"; T1 and T1c differ by {choice.margin} points ({MARGIN} are needed)"


def _width() -> int:
    return max(60, min(100, shutil.get_terminal_size((_WIDTH, 24)).columns)) if sys.stdout.isatty() else _WIDTH
