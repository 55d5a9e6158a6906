"""``acuity train seg``: train one segmentation network of configs/seg."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from acuity.errors import DataError
from acuity.research.datasets import brats
from acuity.research.sampling.augmentation import NAMED
from acuity.research.sampling.preparation import prepare_cases
from acuity.research.synthetic.transplant import OtherBrains, grafts_of
from acuity.research.synthetic.tumor_free import tumor_free_brains
from acuity.research.training.recipe_file import recipe_names
from acuity.research.training.segmentation import read_variants, train
from acuity.research.training.segmentation_recipe import read_segmentation_recipe
from acuity.resources import config_file

RECIPES = config_file("seg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action's own arguments."""
    parser.add_argument("--recipe", required=True, metavar="NAME", help=f"one of {', '.join(recipe_names(RECIPES))}")
    parser.add_argument("--recipes", type=Path, default=RECIPES, metavar="FOLDER", help="of recipes, instead of ours")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="BraTS cases; default: $ACUITY_DATA/brats")
    parser.add_argument("--output", type=Path, default=Path("runs/seg"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--iterations", type=int, default=3000, help="(%(default)s)")
    parser.add_argument("--patch", type=int, nargs=3, metavar=("I", "J", "K"), help="voxels; default: the recipe's")
    parser.add_argument("--batch", type=int, help="patches of a step and process; default: the recipe's")
    parser.add_argument("--paper-size", action="store_true", help="the network as published; needs a GPU")
    parser.add_argument("--initial-weights", type=Path, metavar="FILE", help="start from these, of the same recipe")
    parser.add_argument(
        "--degraded",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="degraded versions of the cases: files of the segmentation bundle's `degrade`, or folders "
        "laid out as BraTS",
    )
    parser.add_argument(
        "--consistency",
        type=float,
        default=0.0,
        metavar="WEIGHT",
        help="of agreement between degraded and original (%(default)s)",
    )
    parser.add_argument(
        "--augmentation",
        choices=list(NAMED),
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
        "--fold",
        type=int,
        choices=range(brats.FOLDS),
        help="hold out this part of the split's cases of training and validation, train on the others "
        "and keep the last weights, not the best; default: the split's",
    )
    parser.add_argument("--validate-every", type=int, default=250, metavar="N", help="iterations (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")


def run(args: argparse.Namespace) -> Path:
    """Train; the path of the weights kept.

    Raises
    ------
    DataError : the recipe, the data or weights cannot be used
    """
    recipe = read_segmentation_recipe(args.recipes / f"{args.recipe}.yaml", compact=not args.paper_size)
    own = recipe.patch
    if any(size % 8 and size not in (1, usual) for size, usual in zip(args.patch or own, own, strict=True)):
        raise DataError(
            f"The patch is {'x'.join(map(str, args.patch))} voxels.",
            rule="Networks halve it three times: sizes are multiples of 8, or across slices 1 or the recipe's own.",
            remedy=f"The recipe's own is {'x'.join(map(str, own))}.",
        )
    recipe = replace(recipe, patch=args.patch or recipe.patch, batch=args.batch or recipe.batch)
    folder = brats.data_folder(args.data)
    names, held_out = _split(folder) if args.fold is None else brats.without_fold(args.fold)
    cases = prepare_cases(folder, names)
    other = OtherBrains(tumor_free_brains(cases), grafts_of(cases, 1.0)) if args.other_share else None
    return train(
        recipe,
        cases,
        prepare_cases(folder, held_out),
        folder=args.output / args.recipe,
        iterations=args.iterations,
        initial_weights=args.initial_weights,
        variants=read_variants(args.degraded, names),
        consistency=args.consistency,
        augmentation=NAMED[args.augmentation],
        seed=args.seed,
        device=args.device,
        validate_every=args.validate_every,
        other=other,
        other_share=args.other_share,
        keep_last=args.fold is not None,
    )


def _split(folder: Path) -> tuple[list[str], list[str]]:
    """Cases to train on and to validate on: by the fixed split; of a folder of other cases each tenth is held out."""
    present = sorted(path.name for path in folder.iterdir() if path.is_dir())
    split = brats.read_split()
    parts = tuple([name for name in split[part] if name in present] for part in ("train", "validation"))
    if not set(present) & {name for part in ("train", "validation", "test") for name in split[part]}:
        parts = ([name for n, name in enumerate(present) if n % 10], present[::10])
    if not (parts[0] and parts[1]):
        raise DataError(
            f"{folder} holds {len(parts[0])} cases to train on and {len(parts[1])} to validate on.",
            rule="Both are needed: of the fixed split, or of two or more other cases each tenth is held out.",
            remedy="Give a folder with cases of both.",
        )
    return parts[0], parts[1]
