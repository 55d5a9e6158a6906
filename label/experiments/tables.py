"""Tables of results."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from pathlib import Path

Row = Mapping[str, str | float]


def write_table(rows: Seq[Row], path: Path) -> None:
    """Write rows, all with the same columns, as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
