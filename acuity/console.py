"""What every command prints alike."""

from __future__ import annotations

import sys

from acuity.errors import AcuityError


def print_error(error: AcuityError) -> None:
    """Found, rule and remedy on stderr."""
    print(f"acuity: {error.code}: {error.found}", file=sys.stderr)
    for name, text in (("rule", error.rule), ("remedy", error.remedy)):
        if text:
            print(f"  {name}: {text}", file=sys.stderr)
