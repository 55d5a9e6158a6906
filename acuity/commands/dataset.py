"""``acuity dataset``: make the paper's data sets from BraTS cases, laid out as they are, so that any tool reads them.

``lr`` shrinks images and labels (LRBraTS); ``interpolated`` and ``sr`` bring the low resolution back to the original
grid; ``crop`` takes the centre. A run that was cut goes on where it ended; dataset.json says how the set was made.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from acuity.evaluation.brats_sets import BroughtBack, Cropped, LowResolution, Making, chosen_cases, make_set
from acuity.evaluation.volume_methods import BASELINE, VolumeMethod, volume_methods


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own subcommands."""
    kinds = parser.add_subparsers(dest="kind", metavar="WHAT", required=True)
    lr = kinds.add_parser("lr", help="shrunk by antialiased cubic interpolation, labels by majority of each region")
    interpolated = kinds.add_parser("interpolated", help="shrunk, then interpolated to the original grid")
    sr = kinds.add_parser("sr", help="shrunk, then super-resolved to the original grid")
    sr.add_argument("--bundle", required=True, metavar="NAME", help="that super-resolves")
    sr.add_argument("--models", type=Path, required=True, metavar="BUNDLES", help="folder of bundles")
    crop = kinds.add_parser("crop", help="the central voxels")
    crop.add_argument("--size", type=_at_least_one, default=128, help="voxels along each axis (default: %(default)s)")
    for kind in (lr, interpolated, sr):
        kind.add_argument("--scale", type=_factor, default=2.0, help="of all axes (default: 2)")
    for kind in (lr, interpolated, sr, crop):
        kind.add_argument("--data", type=Path, required=True, metavar="BRATS", help="folder of BraTS cases")
        kind.add_argument("--output", type=Path, required=True, metavar="FOLDER",
                          help="of the data set; cases that are there and current are kept")
        cases = kind.add_mutually_exclusive_group()
        cases.add_argument("--split", choices=("test", "validation", "train", "all"), default="all",
                           help="cases of the fixed split; all: those that are in no part of it, too (the default)")
        cases.add_argument("--case", nargs="+", metavar="NAME", help="these cases alone")


def run(args: argparse.Namespace) -> int:
    """Make the data set.

    Raises
    ------
    DataError, ModelError, OutputError
        See ``acuity.evaluation.brats_sets.make_set`` and ``acuity.evaluation.volume_methods.volume_methods``.
    """
    cases = chosen_cases(args.data, split=args.split, names=args.case)
    print(make_set(args.data, args.output, cases, _making(args), command=_command(args)))
    return 0


def _making(args: argparse.Namespace) -> Making:
    if args.kind == "crop":
        return Cropped(args.size)
    low = LowResolution(args.scale)
    if args.kind == "lr":
        return low
    if args.kind == "interpolated":
        return BroughtBack(low, VolumeMethod(BASELINE))
    _, method = volume_methods(args.models, {args.bundle: args.bundle})
    return BroughtBack(low, method)


def _command(args: argparse.Namespace) -> str:
    """The command line, paths as they were given."""
    words = ["acuity", "dataset", args.kind, "--data", str(args.data), "--output", str(args.output)]
    for name in ("scale", "size", "bundle", "models"):
        if name in args:
            words += [f"--{name}", f"{getattr(args, name):g}" if name == "scale" else str(getattr(args, name))]
    words += ["--split", args.split] if args.case is None else ["--case", *args.case]
    return shlex.join(words)


def _factor(text: str) -> float:
    value = float(text)
    if value <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not shrink; write a number above 1")
    return value


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no size; write a number of voxels")
    return value
