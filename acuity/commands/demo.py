"""`acuity demo`: make a low-resolution study with a known tumor, run the application on it, show what it found."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="folder for the study, the truth and the results (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="another number, another tumor (default: %(default)s)")
    parser.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        default=(2.0, 2.0, 2.0),
        metavar="MM",
        help="voxels of the study along left, back and head (default: 2 2 2)",
    )
    parser.add_argument(
        "-m", "--model", type=Path, metavar="MODELS", help="folder of the bundles (default: the repository's)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the application's exit code."""
    from acuity.demo.demonstration import demonstrate

    return demonstrate(args.out, seed=args.seed, spacing=tuple(args.spacing), models=args.model, verbosity=args.verbose)
