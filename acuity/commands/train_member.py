"""``acuity train member``: train one fine network of the released segmentation from scratch."""

from __future__ import annotations

import argparse
from pathlib import Path

from acuity.research.options import FOLDS
from acuity.resources import config_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action's own arguments."""
    parser.add_argument("--fold", type=int, choices=range(FOLDS), required=True, help="the fold that is held out")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="BraTS cases")
    parser.add_argument("--cubes", type=Path, required=True, metavar="FILE", help=".npz of cubes round tumors")
    parser.add_argument("--output", type=Path, default=Path("runs/members"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument(
        "--iterations",
        type=int,
        nargs=2,
        default=(1500, 3000),
        metavar=("CUBES", "WHOLE"),
        help="of both stages; about a second each on one CPU core (default: 1500 3000)",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")


def run(args: argparse.Namespace) -> int:
    """Train, and print the path of the weights.

    Raises
    ------
    DataError : cases or cubes cannot be used
    """
    import torch  # it and what is below take seconds, which a wrong command line should not

    from acuity.research.training.members import train_member
    from acuity.research.training.segmentation_recipe import read_recipe

    torch.manual_seed(args.fold)
    recipe = read_recipe(config_file("seg") / "efficientunet.yaml", compact=True)
    iterations = (int(args.iterations[0]), int(args.iterations[1]))
    print(
        train_member(
            args.fold,
            recipe=recipe,
            data=args.data,
            cubes=args.cubes,
            output=args.output,
            iterations=iterations,
            device=args.device,
        )
    )
    return 0
