"""Parsers of arguments that several commands take."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from collections.abc import Sequence as Seq
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


def add_split(parser: argparse.ArgumentParser) -> None:
    """``--split``, as ``acuity.research.datasets.splits`` takes it."""
    parser.add_argument(
        "--split",
        metavar="FILE",
        help='JSON with "train", "validation" and "test" (lists of cases), or "released" for that of the released '
        "models; default: a tenth of the patients each for validation and testing, always the same",
    )


def print_split(split: Mapping[str, Seq[str]], run: Path) -> None:
    """Say on stderr what is held out; of several processes under torchrun the first says it."""
    from acuity.research.datasets.splits import described

    if os.environ.get("RANK", "0") == "0":
        print(described(split, run), file=sys.stderr)
