"""What every command prints alike."""

from __future__ import annotations

import sys
import unicodedata

from acuity.errors import AcuityError


def printable(text: str) -> str:
    """``text`` without control characters, apart from the end of a line: headers and file names may hold a terminal's
    escape sequences.
    """
    return "".join(c for c in text if c == "\n" or not unicodedata.category(c).startswith("C"))


def say(line: str) -> None:
    """A line on stderr, at once."""
    print(printable(line), file=sys.stderr, flush=True)


def print_error(error: AcuityError) -> None:
    """Found, rule and remedy on stderr."""
    print_parts(error.code, error.found, error.rule, error.remedy)


def print_parts(code: str, found: str, rule: str, remedy: str) -> None:
    """What was found under its code, the rule that it breaks, and advice, on stderr."""
    say(f"acuity: {code}: {found}")
    for name, text in (("rule", rule), ("remedy", remedy)):
        if text:
            say(f"  {name}: {text}")
