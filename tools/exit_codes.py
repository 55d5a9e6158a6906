"""Prints the table of exit codes from acuity/errors.py; with --write, puts it into docs/exit-codes.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from acuity.errors import AcuityError

PAGE = Path(__file__).resolve().parent.parent / "docs" / "exit-codes.md"
BEGIN = "<!-- exit codes: begin (python tools/exit_codes.py prints this table) -->\n"
END = "<!-- exit codes: end -->\n"
NOT_REFUSALS = {
    0: "done",
    1: "unexpected failure",
    2: "wrong command line",
}


def refusals(parent: type[AcuityError] = AcuityError) -> list[type[AcuityError]]:
    """The leaves of the exception tree, in order of their exit codes."""
    children = [child for child in parent.__subclasses__() if child.__module__ == AcuityError.__module__]
    if not children:
        return [parent]
    found = [leaf for child in children for leaf in refusals(child)]
    return sorted(found, key=lambda error: error.exit_code)


def table() -> str:
    """Markdown: exit code, code in result.json, meaning."""
    lines = ["| exit code | `code` | meaning |", "|---|---|---|"]
    lines += [f"| {code} | | {meaning} |" for code, meaning in NOT_REFUSALS.items()]
    for error in refusals():
        meaning = " ".join(str(error.__doc__).partition("\n\n")[0].split()).rstrip(".")
        lines.append(f"| {error.exit_code} | `{error.code}` | {meaning} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The text of docs/exit-codes.md with the current table in its place.

    Raises
    ------
    ValueError
        Where the marks of the table's place are absent.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"docs/exit-codes.md has no place for the table: {BEGIN.strip()} and {END.strip()} must stand in it"
        )
    return before + begin + table() + end + after


def main() -> None:
    """Print the table or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/exit-codes.md")
    if parser.parse_args().write:
        PAGE.write_text(with_table(PAGE.read_text()))
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
