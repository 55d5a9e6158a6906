"""The series of a study: whether each can be read, and which sequence it would be taken for, and why."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from acuity.anatomy import Sequence
from acuity.dicom.reading.read import read_study
from acuity.dicom.reading.scan import scan_of
from acuity.dicom.reading.study import Series, Study
from acuity.dicom.selection.rules import default_rules, load_rules
from acuity.dicom.selection.select import Selection, examine

_logger = logging.getLogger(__name__)

_WIDTH = 200  # characters, where the output is no terminal


def inspect(folder: Path, *, rules: Path | None, named: Mapping[Sequence, str], as_json: bool) -> None:
    """Print how the series of a study would be read and chosen; a sequence without a series is named on stderr.

    Parameters
    ----------
    folder : of the study; or a DICOMDIR, or a file
    rules : file with rules that replace the built-in ones
    named : SeriesInstanceUIDs that the user gives for sequences
    as_json : print what ``describe`` gives in place of a table

    Raises
    ------
    AcuityError
        As ``read_study``, ``load_rules`` and ``examine`` raise.
    """
    study = read_study(folder)
    selection = examine(study, load_rules(rules) if rules else default_rules(), dict(named))
    for path, why in study.ignored:
        _logger.info("passed over %s: %s", path, why)
    if as_json:
        json.dump(describe(study, selection), sys.stdout, indent=2)
        print()
    else:
        _print_table(study, selection)
    errors: dict[str, list[str]] = {}
    for sequence, problem in selection.problems.items():
        errors.setdefault(f"{problem.code}: {problem}", []).append(sequence.value)
    for text, sequences in errors.items():
        print(f"acuity: no {', '.join(sequences)}: {text}", file=sys.stderr)


def describe(study: Study, selection: Selection) -> dict[str, Any]:
    """What ``--json`` prints.

    Returns
    -------
    ``{"series": [{series_uid, description, modality, verdict, code, reason, volumes, sequence}]}``; ``volumes``
    holds for each volume of the series its ``shape`` (voxels along i, j, k) and ``affine`` (4x4, LPS mm).
    """
    sequences = {c.series.series_uid: s.value for s, c in reversed(list(selection.choices.items()))}
    return {
        "series": [
            {
                "series_uid": series.series_uid,
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


def _print_table(study: Study, selection: Selection) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    table = Table(show_lines=True)
    for name in ("No.", "description", "modality", "verdict", "shape", "spacing (mm)", "timing", "sequence", "reason"):
        table.add_column(name, overflow="fold")
    described = describe(study, selection)["series"]
    for series, entry in zip(study.series, described, strict=True):
        scan = scan_of(series, series.stacks[0] if series.stacks else None)
        verdict = Text(entry["code"], style="green" if entry["verdict"] == "ok" else "red")
        cells = (
            series.description,
            series.modality,
            verdict,
            _shapes(series),
            _spacings(series),
            scan.timing(),
            Text(entry["sequence"] or "", style="bold"),
            entry["reason"],
        )
        table.add_row(str(scan.number or ""), *(c if isinstance(c, Text) else Text(c) for c in cells))
    console.print(table)
    if study.ignored:
        console.print(f"{len(study.ignored)} files were passed over (-v lists them).")


def _shapes(series: Series) -> str:
    return "\n".join(" x ".join(str(n) for n in stack.grid.shape) for stack in series.stacks)


def _spacings(series: Series) -> str:
    return "\n".join(" x ".join(f"{mm:.3g}" for mm in stack.grid.spacing) for stack in series.stacks)
