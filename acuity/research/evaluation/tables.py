"""Tidy results: one row a measurement, written as CSV, and summarized as Markdown."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from acuity.errors import DataError

Row = Mapping[str, str | float]


def require_unique(names: Sequence[str], kind: str) -> None:
    """Raise DataError where two of a ``kind``, such as "method", share a name."""
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"Two {kind}s are named {name}.",
                rule=f"A {kind}'s name tells its rows from all others.",
                remedy="Give the weights another name.",
            )


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows that share their keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[str, ...], list[Row]]:
    """Rows by the text of what they hold under ``keys``, in order of first appearance."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(str(row[key]) for key in keys), []).append(row)
    return found


def mean_table(rows: Iterable[Row], *, by: Sequence[str], values: Sequence[str], digits: int = 3) -> str:
    """Markdown: the means of ``values`` for each combination of ``by``, in order of first appearance."""
    lines = ["| " + " | ".join([*by, "n", *values]) + " |", "|" + "---|" * (len(by) + 1 + len(values))]
    for key, group in grouped(rows, *by).items():
        means = [f"{np.mean([float(row[v]) for row in group]):.{digits}f}" for v in values]
        lines.append("| " + " | ".join([*key, str(len(group)), *means]) + " |")
    return "\n".join(lines) + "\n"


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown: a table of texts."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *lines]) + "\n"


def signed(value: float, digits: int) -> str:
    """A number with its sign, "" where there is none."""
    # Adding 0 makes -0.0 a plain zero.
    return "" if math.isnan(value) else f"{round(value, digits) + 0.0:+.{digits}f}"
