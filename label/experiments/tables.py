"""Tables of results that grow while an experiment runs: an interrupted one goes on where it stopped."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from pathlib import Path


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none where it is absent."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, rows: Seq[Mapping[str, object]]) -> None:
    """Add rows, all with the same columns."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)
