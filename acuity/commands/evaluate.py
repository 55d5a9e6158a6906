"""``acuity evaluate``: measure methods on images whose truth is known: ``sr`` compares super-resolution methods.

``sr`` degrades slices, brings them back by interpolation, with released bundles and with files of weights, and writes
a table of scores, a summary with confidence intervals, figures and the settings.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from acuity.evaluation.comparison import DEGRADATIONS, evaluate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own subcommands."""
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    sr = what.add_parser("sr", help="compare super-resolution methods on the same slices")
    sr.add_argument("--data", type=Path, required=True, metavar="FOLDER",
                    help="BraTS cases (those for training and validation are left out), fastMRI, DICOM or NIfTI files")
    sr.add_argument("--output", type=Path, required=True, metavar="OUT", help="folder for table, figures and settings")
    sr.add_argument("--models", type=Path, metavar="BUNDLES",
                    help="folder of bundles; all whose network enlarges by the scale take part")
    sr.add_argument("--weights", type=named_file, nargs="+", action="extend", default=[], metavar="NAME=FILE",
                    help="further networks: weights as published or as Acuity saves them; may be repeated")
    sr.add_argument("--scale", type=int, choices=(2, 4), default=4, help="of both axes (default: %(default)s)")
    sr.add_argument("--degradation", choices=tuple(DEGRADATIONS), default="bicubic",
                    help="how the low resolution is made (default: %(default)s)")
    sr.add_argument("--denoise", choices=("before", "after"),
                    help="add each method with non-local means before or after it")
    sr.add_argument("--device", type=device, help="cpu, cuda or cuda:N (default: the GPU if there is one)")
    # Also after `sr`; SUPPRESS keeps what was given before it.
    sr.add_argument("-v", "--verbose", action="count", default=argparse.SUPPRESS,
                    help="say more; twice for still more")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Compare, and print the summary.

    Raises
    ------
    AcuityError
        See ``acuity.evaluation.comparison.evaluate``.
    """
    table = evaluate(
        args.data, args.output, models=args.models, weights=args.weights, scale=args.scale,
        degradation=args.degradation, denoising=args.denoise, device=args.device,
    )  # fmt: skip
    print(table.read_text(encoding="utf-8"))
    return 0


def named_file(text: str) -> tuple[str, Path]:
    """Parse "NAME=FILE".

    Raises
    ------
    argparse.ArgumentTypeError
        When the text has another form.
    """
    name, _, file = text.partition("=")
    if not name or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return name, Path(file)


def device(text: str) -> torch.device:
    """Parse a device that is there.

    Raises
    ------
    argparse.ArgumentTypeError
        When it is none, or not on this machine.
    """
    try:
        found = torch.device(text)
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no device; write cpu, cuda or cuda:N") from None
    if found.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"{text!r} is not supported; write cpu, cuda or cuda:N")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(f"{text!r} is not on this machine")
    return found
