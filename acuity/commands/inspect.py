"""``acuity inspect``: show each series of a DICOM study: whether it can be read, or why not, and which sequence it
would be taken for, why, how surely, what was nearly chosen, and what a run would take.

Nothing is run and nothing is written. The exit code is that of a run, as far as the choice of the series decides it;
what is missing is said on stderr.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from acuity.errors import InputNotFoundError
from acuity.pipeline.options import named_series


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("study", metavar="STUDY", type=Path, help="folder, DICOMDIR or file")
    parser.add_argument(
        "--pixels", action="store_true", help="also read the chosen series, and say whether their pixels agree"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else, on stdout")
    parser.add_argument(
        "--rules",
        metavar="FILE",
        type=Path,
        help="rules of your own (YAML or JSON; configs/sequences.yaml documents the format)",
    )
    parser.add_argument(
        "--series",
        metavar="SEQUENCE=SERIES",
        type=named_series,
        action="append",
        default=[],
        help="take this series for T1, T1c, T2 or FLAIR, by # and its number (T1c=#5) or by its UID; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Print the series or the JSON; what could not be chosen goes to stderr. The exit code is a run's.

    Raises
    ------
    AcuityError : STUDY does not exist, or as ``acuity.pipeline.inspection.inspect``
    """
    if not args.study.exists():
        raise InputNotFoundError(f"STUDY, {args.study}, does not exist.", remedy="Give a folder or file that exists.")
    from acuity.pipeline.inspection import inspect

    return inspect(args.study, rules=args.rules, named=dict(args.series), as_json=args.json, pixels=args.pixels)
