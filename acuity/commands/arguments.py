"""Parsers of arguments that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path


def named_file(text: str) -> tuple[str, Path]:
    """Parse "NAME=FILE"; the file may be a folder.

    Raises
    ------
    argparse.ArgumentTypeError
        When the text has another form.
    """
    name, _, file = text.partition("=")
    if not name or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return name, Path(file)
