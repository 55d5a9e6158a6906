"""What the tests of tables share."""

from __future__ import annotations


def cells(table: str, *start: str) -> list[str]:
    """The cells of the only line of a Markdown table that starts so."""
    (line,) = [line for line in table.splitlines() if line.startswith("| " + " | ".join(start) + " |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def is_whole(table: str) -> bool:
    """Whether all lines have the same number of cells, as Markdown wants it."""
    return len({line.count("|") for line in table.splitlines()}) == 1
