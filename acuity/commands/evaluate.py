"""``acuity evaluate``: measure methods on images whose truth is known.

``sr`` (slices) and ``volumes`` degrade images and bring them back by interpolation and with released bundles (``sr``
also with files of weights). ``seg`` finds tumors by several models on several kinds of input. Each writes a table of
scores, a summary with confidence intervals, figures and the settings.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from acuity.anatomy import Sequence
from acuity.commands import evaluate_segmentation
from acuity.commands.arguments import named_file
from acuity.research.evaluation.slices.comparison import DEGRADATIONS, evaluate
from acuity.research.evaluation.volumes import comparison as super_resolution


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own subcommands."""
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    sr = what.add_parser("sr", help="compare super-resolution methods on the same slices")
    sr.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="BraTS cases (those for training and validation are left out), fastMRI, DICOM or NIfTI files",
    )
    sr.add_argument("--output", type=Path, required=True, metavar="OUT", help="folder for table, figures and settings")
    sr.add_argument(
        "--models",
        type=Path,
        metavar="BUNDLES",
        help="folder of bundles; all whose network enlarges by the scale take part",
    )
    sr.add_argument(
        "--weights",
        type=named_file,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FILE",
        help="further networks: weights as published or as Acuity saves them; may be repeated",
    )
    sr.add_argument("--scale", type=int, choices=(2, 4), default=4, help="of both axes (default: %(default)s)")
    sr.add_argument(
        "--degradation",
        choices=tuple(DEGRADATIONS),
        default="bicubic",
        help="how the low resolution is made (default: %(default)s)",
    )
    sr.add_argument(
        "--denoise", choices=("before", "after"), help="add each method with non-local means before or after it"
    )
    sr.add_argument("--device", type=device, help="cpu, cuda or cuda:N (default: the GPU if there is one)")
    volumes = what.add_parser("volumes", help="super-resolve BraTS volumes, and compare with tricubic interpolation")
    _add_volumes(volumes)
    seg = what.add_parser("seg", help="find tumors in BraTS volumes by several models, on several kinds of input")
    evaluate_segmentation.add_arguments(seg)
    for parser in (sr, volumes, seg):
        # Also after the subcommand; SUPPRESS keeps what was given before it.
        parser.add_argument(
            "-v", "--verbose", action="count", default=argparse.SUPPRESS, help="say more; twice for still more"
        )


def run(args: argparse.Namespace) -> int:
    """Compare, and print the summary.

    Raises
    ------
    AcuityError
        See the ``evaluate`` of ``acuity.research.evaluation.slices.comparison``, ``super_resolution`` and ``segmentation``.
    """
    runs = {"sr": _run_sr, "volumes": _run_volumes, "seg": evaluate_segmentation.run}
    return runs[args.what](args)


def _add_volumes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="BraTS cases (those for training and validation are left out)",
    )
    parser.add_argument("--models", type=Path, required=True, metavar="BUNDLES", help="folder of bundles")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder for table, figures and settings; what an earlier run measured there is kept",
    )
    parser.add_argument("--bundle", nargs="+", metavar="NAME", help="default: all that super-resolve")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument(
        "--sequence",
        nargs="+",
        type=Sequence,
        choices=list(Sequence),
        default=list(Sequence),
        metavar="NAME",
        help="any of %(choices)s (default: all)",
    )
    parser.add_argument(
        "--degradation",
        nargs="+",
        choices=tuple(super_resolution.DEGRADATIONS),
        default=list(super_resolution.DEGRADATIONS),
        metavar="NAME",
        help="any of %(choices)s (default: all, which takes hours without a GPU)",
    )
    parser.add_argument(
        "--fusion",
        action="store_true",
        help="let bundles restore both orthogonal planes across the slices, and take the mean",
    )
    parser.add_argument(
        "--denoise",
        choices=("before", "after"),
        help="let bundles denoise by non-local means before or after super-resolution",
    )
    parser.add_argument(
        "--keep-volumes",
        action="store_true",
        help="leave the restored volumes in OUT/volumes/DEGRADATION/METHOD/CASE, laid out as BraTS's",
    )


def _run_volumes(args: argparse.Namespace) -> int:
    table = super_resolution.evaluate(
        data=args.data,
        models=args.models,
        output=args.output,
        cases=super_resolution.unseen_cases(args.data, args.case),
        bundles=None if args.bundle is None else {name: name for name in args.bundle},
        sequences=args.sequence,
        degradations=args.degradation,
        fusion=args.fusion,
        denoising=args.denoise,
        keep={name: args.output / "volumes" / name for name in args.degradation} if args.keep_volumes else None,
    )
    print(table.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


def _run_sr(args: argparse.Namespace) -> int:
    table = evaluate(
        args.data,
        args.output,
        models=args.models,
        weights=args.weights,
        scale=args.scale,
        degradation=args.degradation,
        denoising=args.denoise,
        device=args.device,
    )
    print(table.read_text(encoding="utf-8"))
    return 0


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
