"""The series of a study: whether each can be read, and which sequence it would be taken for, and why."""

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
from acuity.dicom.reading.scan import scan_of
from acuity.dicom.reading.study import Series, Study
from acuity.dicom.selection.rules import default_rules, load_rules
from acuity.dicom.selection.select import Selection, examine
from acuity.errors import MissingSequenceError
from acuity.pipeline.study import read_dicom, series_number, series_uids

_logger = logging.getLogger(__name__)

_WIDTH = 80  # characters, where the output is no terminal


def inspect(folder: Path, *, rules: Path | None, named: Mapping[Sequence, str], as_json: bool) -> None:
    """Print how the series of a study would be read and chosen; a sequence without a series is named on stderr.

    Parameters
    ----------
    folder : of the study; or a DICOMDIR, or a file
    rules : file with rules that replace the built-in ones
    named : for sequences, the SeriesInstanceUIDs that the user gives, or "#" and the Series Number
    as_json : print what ``describe`` gives in place of paragraphs

    Raises
    ------
    AcuityError
        As ``read_dicom``, ``series_uids``, ``load_rules`` and ``examine`` raise.
    """
    study = read_dicom(folder)
    selection = examine(study, load_rules(rules) if rules else default_rules(), series_uids(study, named))
    for path, why in study.ignored:
        _logger.info("passed over %s: %s", path, why)
    if as_json:
        json.dump(describe(study, selection), sys.stdout, indent=2)
        print()
    else:
        _print_series(study, selection)
    errors: dict[str, list[str]] = {}
    for sequence, problem in selection.problems.items():
        errors.setdefault(f"{problem.code}: {problem}", []).append(sequence.value)
    for text, sequences in errors.items():
        print(f"acuity: no {', '.join(sequences)}: {text}", file=sys.stderr)
    if errors and all(isinstance(problem, MissingSequenceError) for problem in selection.problems.values()):
        print(f"acuity: {if_allowed(selection.choices)}", file=sys.stderr)


def describe(study: Study, selection: Selection) -> dict[str, Any]:
    """What ``--json`` prints.

    Returns
    -------
    ``{"series": [{series_uid, number, description, modality, verdict, code, reason, volumes, sequence}]}``; ``volumes``
    holds for each volume of the series its ``shape`` (voxels along i, j, k) and ``affine`` (4x4, LPS mm).
    """
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
        ]
    }


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
    width = max(60, min(100, shutil.get_terminal_size((_WIDTH, 24)).columns)) if sys.stdout.isatty() else _WIDTH
    indent = " " * 6
    for series, entry in zip(study.series, describe(study, selection)["series"], strict=True):
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
    print("To name a series: --series T1c=#NUMBER or --series T1c=UID")
    if study.ignored:
        print(f"{len(study.ignored)} files were passed over (-v lists them).")
