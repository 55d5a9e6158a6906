"""``acuity dataset``: check cases, and make data sets from them, laid out as BraTS's are, so that any tool reads them.

``lr`` shrinks images and labels (LRBraTS) or averages them to thick slices; ``interpolated`` and ``sr`` bring that back
to the original grid; ``crop`` takes the center. ``altered`` changes the images as hospitals differ; ``mirrored`` and
``phantoms`` are brains without a tumor. A run that was cut goes on where it ended; dataset.json says how the set was
made.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from acuity.commands.arguments import add_split
from acuity.errors import DataError
from acuity.research.options import Alteration

if TYPE_CHECKING:
    from acuity.research.datasets.checking import FolderReport
    from acuity.research.derived.sets import Derivation

WIDTH = 80  # characters, where the output is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own subcommands."""
    kinds = parser.add_subparsers(dest="kind", metavar="WHAT", required=True)
    check = kinds.add_parser("check", help="list cases and their faults; 0 if a training may start, else 70")
    check.add_argument("data", type=Path, metavar="FOLDER", help="of cases")
    check.add_argument("--json", action="store_true", help="print JSON, and nothing else, on stdout")
    lr = kinds.add_parser("lr", help="shrunk by antialiased cubic interpolation, labels by majority of each region")
    interpolated = kinds.add_parser("interpolated", help="shrunk, then interpolated to the original grid")
    sr = kinds.add_parser("sr", help="shrunk, then super-resolved to the original grid")
    sr.add_argument("--bundle", required=True, metavar="NAME", help="that super-resolves")
    sr.add_argument("--models", type=Path, required=True, metavar="BUNDLES", help="folder of bundles")
    crop = kinds.add_parser("crop", help="the central voxels")
    crop.add_argument("--size", type=_at_least_one, default=128, help="voxels along each axis (default: %(default)s)")
    altered = kinds.add_parser("altered", help="as other scanners or preparations would have made the images")
    altered.add_argument("--change", required=True, choices=get_args(Alteration), help="one at a time")
    mirrored = kinds.add_parser("mirrored", help="without a tumor: the half that it leaves free, mirrored")
    phantoms = kinds.add_parser("phantoms", help="painted brains, no patient's; needs no data")
    phantoms.add_argument("--count", type=_at_least_one, required=True, metavar="N", help="how many")
    phantoms.add_argument("--no-tumor", action="store_true", help="grow no tumor in them")
    for kind in (lr, interpolated, sr):
        lowering = kind.add_mutually_exclusive_group()
        lowering.add_argument("--scale", type=_factor, default=2.0, help="of all axes (default: 2)")
        text = "instead: means over axial slices so thick, without gap"
        lowering.add_argument("--slice-thickness", type=_thickness, metavar="MM", help=text)
    for kind in (lr, interpolated, sr, crop, altered, mirrored):
        kind.add_argument("--data", type=Path, required=True, metavar="BRATS", help="folder of BraTS cases")
        cases = kind.add_mutually_exclusive_group()
        cases.add_argument(
            "--part",
            choices=("test", "validation", "train", "all"),
            default="all",
            help="of the split; all: cases that are in no part of it, too (the default)",
        )
        cases.add_argument("--case", nargs="+", metavar="NAME", help="these cases alone")
        add_split(kind)
    for kind in (lr, interpolated, sr, crop, altered, mirrored, phantoms):
        text = "of the data set; cases that are there and current are kept"
        kind.add_argument("--output", type=Path, required=True, metavar="FOLDER", help=text)


def run(args: argparse.Namespace) -> int:
    """Make the data set, or check one's cases.

    Raises
    ------
    DataError, ModelError, OutputError
        See ``acuity.research.derived.sets.make_set`` and ``acuity.research.restoration.volume_methods``.
    """
    if args.kind == "check":
        return _check(args.data, as_json=args.json)
    from acuity.research.derived.sets import chosen_cases, make_set
    from acuity.research.derived.tumor_free import make_phantoms

    if args.kind == "phantoms":
        path = make_phantoms(args.output, args.count, tumor=not args.no_tumor, command=_command(args))
    else:
        cases = chosen_cases(args.data, part=args.part, split=args.split, names=args.case)
        path = make_set(args.data, args.output, cases, _derivation(args), command=_command(args))
    print(path)
    return 0


def _check(folder: Path, *, as_json: bool) -> int:
    from acuity.research.datasets.brats import data_folder
    from acuity.research.datasets.checking import check_folder

    report = check_folder(data_folder(folder))
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        _print_check(report)
    return 0 if report.may_train else DataError.exit_code


def _print_check(report: FolderReport) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    table = Table()
    for name in ("case", "voxels", "mm", "labels", "faults and notes"):
        table.add_column(name, overflow="fold")
    for case in report.cases:
        shape, spacing = ("x".join(f"{n:g}" for n in numbers or ()) for numbers in (case.shape, case.spacing))
        said = Text(" ".join(case.faults), style="red") + Text(" " if case.faults else "") + Text(" ".join(case.notes))
        table.add_row(case.case, shape, spacing, " ".join(case.labels or ()), said)
    console.print(table)
    faulty = sum(bool(case.faults) for case in report.cases)
    console.print(f"{len(report.cases)} cases, {faulty} with faults.", *report.faults, soft_wrap=True, markup=False)
    console.print("A training may start." if report.may_train else "A training may not start.")


def _derivation(args: argparse.Namespace) -> Derivation:
    from acuity.research.derived.altered import Altered
    from acuity.research.derived.low_resolution import BroughtBack, LowResolution, ResolutionLoss, ThickSliced
    from acuity.research.derived.sets import Cropped
    from acuity.research.derived.tumor_free import Mirrored
    from acuity.research.restoration import BASELINE, VolumeMethod, volume_methods

    if args.kind == "crop":
        return Cropped(args.size)
    if args.kind == "altered":
        return Altered(args.change)
    if args.kind == "mirrored":
        return Mirrored()
    low: ResolutionLoss = ThickSliced(args.slice_thickness) if args.slice_thickness else LowResolution(args.scale)
    if args.kind == "lr":
        return low
    if args.kind == "interpolated":
        return BroughtBack(low, VolumeMethod(BASELINE))
    _, method = volume_methods(args.models, {args.bundle: args.bundle})
    return BroughtBack(low, method)


def _command(args: argparse.Namespace) -> str:
    """The command line, paths as they were given."""
    words = ["acuity", "dataset", args.kind]
    lowering = "slice_thickness" if getattr(args, "slice_thickness", None) else "scale"
    for name in ("data", "output", lowering, "size", "change", "count", "bundle", "models"):
        if name in args:
            value = getattr(args, name)
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    if args.kind == "phantoms":
        words += ["--no-tumor"] if args.no_tumor else []
    else:
        words += ["--split", args.split] if args.split else []
        words += ["--part", args.part] if args.case is None else ["--case", *args.case]
    return shlex.join(words)


def _factor(text: str) -> float:
    value = float(text)
    if value <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not shrink; write a number above 1")
    return value


def _thickness(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no thickness; write millimeters")
    return value


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is too few; write 1 or more")
    return value
