"""``acuity evaluate seg``: find tumors by several models on several kinds of input, and score what is found."""

from __future__ import annotations

import argparse
from collections.abc import Sequence as Seq
from pathlib import Path

from acuity.anatomy import Sequence
from acuity.commands.arguments import named_file
from acuity.errors import DataError
from acuity.research.evaluation.segmentation.comparison import evaluate
from acuity.research.evaluation.segmentation.models import SegmentationModel, bundle_models, forest_model, trained_model
from acuity.research.evaluation.volumes.comparison import unseen_cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the subcommand."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="BRATS",
        help="BraTS cases with their truth (those for training and validation are left out)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder for tables, figures and settings; what an earlier run measured there is kept",
    )
    parser.add_argument("--models", type=Path, metavar="BUNDLES", help="folder of bundles")
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
    parser.add_argument(
        "--forest",
        type=named_file,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FILE",
        help="forests that `acuity train forest` trained",
    )
    parser.add_argument(
        "--input",
        type=named_file,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FOLDER",
        help="further kinds of input: the same cases, as `acuity dataset` makes them",
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
    parser.add_argument("--case", nargs="+", metavar="NAME", help="default: all")


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print the summary.

    Raises
    ------
    AcuityError
        See ``acuity.research.evaluation.segmentation.comparison.evaluate``.
    """
    inputs = dict(args.input)
    if len(inputs) < len(args.input):
        raise DataError(
            "Two inputs share a name.",
            rule="An input's name tells its rows from all others.",
            remedy="Give one another name.",
        )
    table = evaluate(
        data=args.data,
        output=args.output,
        cases=unseen_cases(args.data, args.case),
        models=_models(args),
        inputs=inputs,
        missing=args.missing,
    )
    print(table.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


def recipe_weights(text: str) -> tuple[str, str, Path]:
    """Parse "NAME=RECIPE:FILE".

    Raises
    ------
    argparse.ArgumentTypeError
        When the text has another form.
    """
    name, _, rest = text.partition("=")
    recipe, _, file = rest.partition(":")
    if not name or not recipe or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RECIPE:FILE")
    return name, recipe, Path(file)


def _models(args: argparse.Namespace) -> Seq[SegmentationModel]:
    if args.bundle and args.models is None:
        raise DataError(
            f"Bundles are named ({', '.join(args.bundle)}), but no folder of bundles is.",
            rule="Bundles are looked for in the folder that --models names.",
            remedy="Name it.",
        )
    models = [] if args.models is None else bundle_models(args.models, args.bundle)
    models += [trained_model(name, recipe, file) for name, recipe, file in args.weights]
    models += [forest_model(name, file) for name, file in args.forest]
    return models
