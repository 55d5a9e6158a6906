"""``acuity train forest``: train the random forest that segments by the features of single voxels.

The cases are split into folds. Each case is scored by a forest that has not seen it, and the votes of those forests
calibrate the last one, which is trained on all cases.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path

from acuity.anatomy import Region
from acuity.commands.arguments import add_split, print_split
from acuity.research.forest import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``acuity train forest``."""
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="BraTS cases; default: $ACUITY_DATA/brats")
    add_split(parser)
    parser.add_argument("--output", type=Path, default=Path("runs/forest"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument(
        "--cases", type=int, default=20, help="at most, of those for training and validation (%(default)s)"
    )
    explanations = {
        "voxels_per_case": "half of them healthy",
        "folds": "of the cases",
        "trees": "",
        "depth": "of a tree at most",
        "seed": "",
        "jobs": "threads; they change no result",
    }
    for name, text in explanations.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, default=getattr(Plan(), name), help=f"{text} (%(default)s)".strip())


def run(args: argparse.Namespace) -> int:
    """Train.

    Raises
    ------
    DataError
        When the data cannot be used.
    """
    from acuity.research.datasets import brats
    from acuity.research.datasets.splits import split_cases
    from acuity.research.forest.training import SETTINGS, train

    data = brats.data_folder(args.data)
    split = split_cases(data, args.split, args.output, labeled=True)
    print_split(split, args.output)
    names = brats.fine_cases([*split["train"], *split["validation"]], split)
    plan = Plan(**{field.name: getattr(args, field.name) for field in fields(Plan)})
    path = train(names[: args.cases], data=data, folder=args.output, plan=plan)
    means = json.loads((args.output / SETTINGS).read_text())["dice"]["dice"]
    print("out of fold: " + ", ".join(f"{region} {means[region]:.3f}" for region in Region))
    print(path)
    return 0
