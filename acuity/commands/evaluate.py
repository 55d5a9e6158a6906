"""``acuity evaluate``: measure methods on images whose truth is known.

``sr`` (slices) and ``volumes`` degrade images and bring them back by interpolation and with released bundles (``sr``
also with files of weights). ``seg`` finds tumors by several models on several kinds of input. Each writes a table of
scores, a summary with confidence intervals, figures and the settings.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from acuity.anatomy import Sequence
from acuity.commands.arguments import named_file
from acuity.errors import DataError
from acuity.research.options import SliceDegradation, VolumeDegradation

if TYPE_CHECKING:
    import torch

    from acuity.research.evaluation.segmentation.models import SegmentationModel

_DENOISING = ("before", "after")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own subcommands."""
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    sr = what.add_parser("sr", help="compare super-resolution methods on the same slices")
    volumes = what.add_parser("volumes", help="super-resolve BraTS volumes, and compare with tricubic interpolation")
    seg = what.add_parser("seg", help="find tumors in BraTS volumes by several models, on several kinds of input")
    _add_slices(sr)
    _add_volumes(volumes)
    _add_segmentation(seg)
    for each, run in ((sr, _run_slices), (volumes, _run_volumes), (seg, _run_segmentation)):
        each.set_defaults(evaluate=run)
        kept = "" if each is sr else "; what an earlier run measured there is kept"
        text = f"folder for tables, figures and settings{kept}"
        each.add_argument("--output", type=Path, required=True, metavar="OUT", help=text)
        each.add_argument("--models", type=Path, required=each is volumes, metavar="BUNDLES", help="folder of bundles")
        # Also after the subcommand; SUPPRESS keeps what was given before it.
        each.add_argument(
            "-v", "--verbose", action="count", default=argparse.SUPPRESS, help="say more; twice for still more"
        )


def run(args: argparse.Namespace) -> int:
    """Measure, and print the summary.

    Raises
    ------
    AcuityError
        See ``evaluate`` of the ``comparison`` in each of ``acuity.research.evaluation.slices``, ``.volumes`` and
        ``.segmentation``.
    """
    summary: Path = args.evaluate(args)
    print(summary.read_text(encoding="utf-8"))
    return 0


def _add_slices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="BraTS cases (those for training and validation are left out), fastMRI, DICOM or NIfTI files; bundles "
        "take part whose network enlarges by the scale",
    )
    _add_named_files(parser, "--weights", "NAME=FILE", "further networks: weights as published or as Acuity saves them")
    parser.add_argument("--scale", type=int, choices=(2, 4), default=4, help="of both axes (default: %(default)s)")
    parser.add_argument(
        "--degradation",
        choices=get_args(SliceDegradation),
        default="bicubic",
        help="how the low resolution is made (default: %(default)s)",
    )
    parser.add_argument("--denoise", choices=_DENOISING, help="add each method with non-local means before or after it")
    parser.add_argument("--device", type=device, help="cpu, cuda or cuda:N (default: the GPU if there is one)")


def _add_volumes(parser: argparse.ArgumentParser) -> None:
    _add_brats(parser)
    parser.add_argument("--bundle", nargs="+", metavar="NAME", help="default: all that super-resolve")
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
        choices=get_args(VolumeDegradation),
        default=list(get_args(VolumeDegradation)),
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
        choices=_DENOISING,
        help="let bundles denoise by non-local means before or after super-resolution",
    )
    parser.add_argument(
        "--keep-volumes",
        action="store_true",
        help="leave the restored volumes in OUT/volumes/DEGRADATION/METHOD/CASE, laid out as BraTS's",
    )


def _add_segmentation(parser: argparse.ArgumentParser) -> None:
    _add_brats(parser)
    parser.add_argument("--bundle", nargs="+", metavar="NAME", help="default: all in BUNDLES that segment")
    parser.add_argument(
        "--weights",
        type=recipe_weights,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=RECIPE:FILE",
        help="networks that `acuity train seg` trained, by which recipe",
    )
    _add_named_files(parser, "--forest", "NAME=FILE", "forests that `acuity train forest` trained")
    _add_named_files(
        parser, "--input", "NAME=FOLDER", "further kinds of input: the same cases, as `acuity dataset` makes them"
    )
    parser.add_argument(
        "--missing",
        type=Sequence,
        choices=tuple(Sequence),
        nargs="+",
        default=[],
        metavar="SEQUENCE",
        help=f"keep any of {', '.join(Sequence)} from the models",
    )


def _add_brats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="BRATS",
        help="BraTS cases with their truth (those for training and validation are left out)",
    )
    parser.add_argument("--case", nargs="+", metavar="NAME", help="default: all")


def _add_named_files(parser: argparse.ArgumentParser, option: str, form: str, text: str) -> None:
    parser.add_argument(option, type=named_file, nargs="+", action="extend", default=[], metavar=form, help=text)


def _run_slices(args: argparse.Namespace) -> Path:
    from acuity.research.evaluation.slices.comparison import evaluate

    return evaluate(
        args.data,
        args.output,
        models=args.models,
        weights=args.weights,
        scale=args.scale,
        degradation=args.degradation,
        denoising=args.denoise,
        device=args.device,
    )


def _run_volumes(args: argparse.Namespace) -> Path:
    from acuity.research.evaluation.cases import unseen_cases
    from acuity.research.evaluation.volumes.comparison import evaluate

    table = evaluate(
        data=args.data,
        models=args.models,
        output=args.output,
        cases=unseen_cases(args.data, args.case),
        bundles=None if args.bundle is None else {name: name for name in args.bundle},
        sequences=args.sequence,
        degradations=args.degradation,
        fusion=args.fusion,
        denoising=args.denoise,
        keep={name: args.output / "volumes" / name for name in args.degradation} if args.keep_volumes else None,
    )
    return table.with_suffix(".md")


def _run_segmentation(args: argparse.Namespace) -> Path:
    from acuity.research.evaluation.cases import unseen_cases
    from acuity.research.evaluation.segmentation.comparison import evaluate

    inputs = dict(args.input)
    if len(inputs) < len(args.input):
        raise DataError(
            "Two inputs share a name.",
            rule="An input's name tells its rows from all others.",
            remedy="Give one another name.",
        )
    weights = [file for _, _, file in args.weights] + [file for _, file in args.forest]
    table = evaluate(
        data=args.data,
        output=args.output,
        cases=unseen_cases(args.data, args.case, weights=weights),
        models=_segmentation_models(args),
        inputs=inputs,
        missing=args.missing,
    )
    return table.with_suffix(".md")


def _segmentation_models(args: argparse.Namespace) -> list[SegmentationModel]:
    from acuity.research.evaluation.segmentation.models import bundle_models, forest_model, trained_model

    if args.bundle and args.models is None:
        raise DataError(
            f"Bundles are named ({', '.join(args.bundle)}), but no folder of bundles is.",
            rule="Bundles are looked for in the folder that --models names.",
            remedy="Name it.",
        )
    models = [] if args.models is None else bundle_models(args.models, args.bundle)
    models += [trained_model(name, recipe, file) for name, recipe, file in args.weights]
    return models + [forest_model(name, file) for name, file in args.forest]


def recipe_weights(text: str) -> tuple[str, str, Path]:
    """Parse "NAME=RECIPE:FILE".

    Raises
    ------
    argparse.ArgumentTypeError : the text has another form
    """
    name, _, rest = text.partition("=")
    recipe, _, file = rest.partition(":")
    if not name or not recipe or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RECIPE:FILE")
    return name, recipe, Path(file)


def device(text: str) -> torch.device:
    """Parse a device that is on this machine.

    Raises
    ------
    argparse.ArgumentTypeError : it is none, or not there
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no device; write cpu, cuda or cuda:N")
    import torch  # which takes seconds: the form is checked first

    found = torch.device(text)
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(f"{text!r} is not on this machine")
    return found
