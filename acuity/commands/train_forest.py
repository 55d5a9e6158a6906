"""``acuity train forest``: train the random forest that segments by the features of single voxels.

The cases are split into folds: each case is scored by a forest that has not seen it, and what those forests say is
what the last one, of all cases, is calibrated on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from acuity.anatomy import Region
from acuity.errors import DataError
from acuity.research.datasets import brats
from acuity.research.forest.training import SETTINGS, Plan, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``acuity train forest``."""
    plan = Plan()
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="BraTS cases; default: $ACUITY_DATA/brats")
    parser.add_argument("--output", type=Path, default=Path("runs/forest"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument(
        "--cases", type=int, default=20, help="of the training split, those with fine gray levels (%(default)s)"
    )
    parser.add_argument(
        "--voxels-per-case", type=int, default=plan.voxels_per_case, help="half of them healthy (%(default)s)"
    )
    parser.add_argument("--folds", type=int, default=plan.folds, help="of the cases (%(default)s)")
    parser.add_argument("--trees", type=int, default=plan.trees, help="(%(default)s)")
    parser.add_argument("--depth", type=int, default=plan.depth, help="of a tree at most (%(default)s)")
    parser.add_argument("--seed", type=int, default=plan.seed, help="(%(default)s)")
    parser.add_argument("--jobs", type=int, default=plan.jobs, help="threads; they change no result (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Train.

    Raises
    ------
    DataError
        When the data cannot be used.
    """
    data = brats.data_folder(args.data)
    names = [name for name in brats.fine_cases(brats.read_split()["train"]) if (data / name).is_dir()][: args.cases]
    if not names:
        raise DataError(
            f"{data} holds no fine case of the training split.",
            rule="The forest is trained on cases of acuity/research/datasets/brats_split.json.",
            remedy="Name the folder that holds a folder for each case.",
        )
    plan = Plan(
        trees=args.trees,
        depth=args.depth,
        folds=args.folds,
        voxels_per_case=args.voxels_per_case,
        seed=args.seed,
        jobs=args.jobs,
    )
    path = train(names, data=data, folder=args.output, plan=plan)
    means = json.loads((args.output / SETTINGS).read_text())["dice"]["dice"]
    print("out of fold: " + ", ".join(f"{region} {means[region]:.3f}" for region in Region))
    print(path)
    return 0
