"""``acuity train seg``: train one segmentation network of configs/seg."""

from __future__ import annotations

import argparse
from collections.abc import Sequence as Seq
from dataclasses import replace
from pathlib import Path

from acuity.commands.arguments import add_split, print_split
from acuity.errors import DataError
from acuity.research.options import FOLDS
from acuity.research.recipe_file import recipe_names
from acuity.resources import config_file

RECIPES = config_file("seg")
AUGMENTATIONS = ("plain", "standard", "hospital")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action's own arguments."""
    parser.add_argument("--recipe", required=True, metavar="NAME", help=f"one of {', '.join(recipe_names(RECIPES))}")
    parser.add_argument("--recipes", type=Path, default=RECIPES, metavar="FOLDER", help="of recipes, instead of ours")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="BraTS cases; default: $ACUITY_DATA/brats")
    add_split(parser)
    parser.add_argument("--output", type=Path, default=Path("runs/seg"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--iterations", type=int, default=3000, help="(%(default)s)")
    parser.add_argument("--patch", type=int, nargs=3, metavar=("I", "J", "K"), help="voxels; default: the recipe's")
    parser.add_argument("--batch", type=int, help="patches of a step and process; default: the recipe's")
    parser.add_argument("--paper-size", action="store_true", help="the network as published; needs a GPU")
    parser.add_argument("--initial-weights", type=Path, metavar="FILE", help="start from these, of the same recipe")
    parser.add_argument(
        "--augmentation",
        choices=AUGMENTATIONS,
        default="standard",
        help="plain keeps resolution, hospital loses it and sequences (%(default)s)",
    )
    parser.add_argument(
        "--other-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of patches: brains without or with another's tumor (%(default)s)",
    )
    parser.add_argument(
        "--low-grade-share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of cases that are drawn, where the split names some of low grade (%(default)s)",
    )
    parser.add_argument(
        "--fold",
        type=int,
        choices=range(FOLDS),
        help="hold out this part of the split's cases of training and validation, train on the others "
        "and keep the last weights, not the best; default: the split's",
    )
    parser.add_argument("--validate-every", type=int, default=250, metavar="N", help="iterations (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")


def run(args: argparse.Namespace) -> int:
    """Train, and print the path of the weights kept.

    Raises
    ------
    DataError : the recipe, the data or weights cannot be used
    """
    import torch  # it and what is below take seconds, which a wrong command line should not

    from acuity.research.datasets import brats
    from acuity.research.datasets.splits import split_cases
    from acuity.research.sampling.augmentation import NAMED
    from acuity.research.training.data import read_training_data
    from acuity.research.training.segmentation import Plan, train
    from acuity.research.training.segmentation_recipe import read_recipe

    torch.manual_seed(args.seed)
    recipe = read_recipe(args.recipes / f"{args.recipe}.yaml", compact=not args.paper_size)
    recipe = replace(recipe, patch=_patch(args.patch, recipe.patch), batch=args.batch or recipe.batch)
    folder, run_folder = brats.data_folder(args.data), args.output / args.recipe
    split = split_cases(folder, args.split, run_folder, labeled=True)
    print_split(split, run_folder)
    data = read_training_data(
        folder,
        split,
        fold=args.fold,
        other_share=args.other_share,
        low_grade_share=args.low_grade_share,
    )
    plan = Plan(
        args.iterations,
        augmentation=NAMED[args.augmentation],
        seed=args.seed,
        validate_every=args.validate_every,
        keep_last=args.fold is not None,
    )
    print(train(recipe, data, plan, folder=run_folder, initial_weights=args.initial_weights, device=args.device))
    return 0


def _patch(asked: Seq[int] | None, usual: Seq[int]) -> Seq[int]:
    """The size of patches that is asked for, else the recipe's."""
    if asked is None:
        return usual
    if any(size % 8 and size not in (1, own) for size, own in zip(asked, usual, strict=True)):
        raise DataError(
            f"The patch is {'x'.join(map(str, asked))} voxels.",
            rule="Networks halve it three times: sizes are multiples of 8, or across slices 1 or the recipe's own.",
            remedy=f"The recipe's own is {'x'.join(map(str, usual))}.",
        )
    return asked
