"""``acuity train sr`` and ``acuity train ranker``.

``sr`` trains one method of configs/sr: by pixel loss, then adversarially. Methods that share a generator and a
degradation share the first stage. ``ranker`` makes RankSRGAN's data from trained networks and trains its ranker.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence as Seq
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from acuity.commands.arguments import add_split, print_split
from acuity.research.recipe_file import recipe_names
from acuity.resources import config_file

if TYPE_CHECKING:
    from acuity.research.datasets.slice_sets import ImageSlice
    from acuity.research.training.super_resolution_recipe import Recipe

RECIPES = config_file("sr")
NIQE_PATCH = 48  # NIQE's own 96 finds no two patches in a patch of training
SCALE = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``acuity train sr``."""
    parser.add_argument("--recipe", required=True, metavar="NAME", help=f"one of {', '.join(recipe_names(RECIPES))}")
    parser.add_argument("--recipes", type=Path, default=RECIPES, metavar="FOLDER", help="of recipes, instead of ours")
    parser.add_argument("--iterations", type=int, default=4000, help="of both stages together (%(default)s)")
    parser.add_argument("--pixel-share", type=float, default=0.5, help="part of them by pixel loss alone (%(default)s)")
    parser.add_argument("--paper-size", action="store_true", help="networks as published; needs a GPU")
    parser.add_argument(
        "--initial-weights", type=Path, metavar="FILE", help="start from these, as `acuity weights` reads"
    )
    parser.add_argument("--ranker", type=Path, metavar="FILE", help="weights from `acuity train ranker`, for RankSRGAN")
    _add_common_arguments(parser)


def add_ranker_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``acuity train ranker``."""
    parser.add_argument(
        "--network",
        action="append",
        default=[],
        metavar="FILE",
        type=Path,
        required=True,
        help="weights of a network whose images are ranked; name two or more",
    )
    parser.add_argument("--iterations", type=int, default=1000, help="(%(default)s)")
    parser.add_argument("--patches", type=int, default=400, help="that each network super-resolves (%(default)s)")
    _add_common_arguments(parser)


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="BraTS cases, DICOM, NIfTI or fastMRI; default: $ACUITY_DATA/brats"
    )
    add_split(parser)
    parser.add_argument("--output", type=Path, default=Path("runs/sr"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="patches of a step and process (%(default)s)")
    parser.add_argument("--patch", type=int, default=128, help="size of the truth in pixels (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")


# torch and what needs it is imported where it is used: it takes seconds, which a wrong command line should not.


def run(args: argparse.Namespace) -> int:
    """Train both stages of a method, and print the path of the weights to release.

    Raises
    ------
    DataError : the recipe, the data or weights cannot be used
    """
    import torch

    from acuity.networks.initialization import start_as_interpolation
    from acuity.networks.ranker import read_ranker
    from acuity.research.training.pairs import InPlanePairs
    from acuity.research.training.super_resolution import Plan, train
    from acuity.research.training.super_resolution_recipe import read_recipe

    torch.manual_seed(args.seed)
    recipe = read_recipe(
        args.recipes / f"{args.recipe}.yaml",
        compact=not args.paper_size,
        patch=args.patch,
        ranker=None if args.ranker is None else read_ranker(args.ranker),
    )
    runs = [args.output / pixel_stage_name(recipe), args.output / args.recipe]
    pairs, validation_pairs = (
        InPlanePairs(part, recipe.degradation, SCALE, args.patch) for part in _slices(args, runs)
    )
    pixel_iterations = round(args.pixel_share * args.iterations)
    if args.initial_weights is None:
        start_as_interpolation(recipe.generator)
    pixel = train(
        recipe,
        pairs,
        validation_pairs,
        Plan("pixel", pixel_iterations, batch=args.batch, seed=args.seed),
        folder=runs[0],
        initial_weights=args.initial_weights,
        device=args.device,
    )
    released = train(
        recipe,
        pairs,
        validation_pairs,
        Plan("adversarial", args.iterations - pixel_iterations, batch=args.batch, seed=args.seed),
        folder=runs[1],
        initial_weights=pixel,
        device=args.device,
    )
    print(released)
    return 0


def pixel_stage_name(recipe: Recipe) -> str:
    """Folder of the first stage, which knows of a recipe its generator and its degradation alone."""
    return f"pixel_{type(recipe.generator).__name__.lower()}_{recipe.degradation.__name__.removeprefix('draw_')}"


def _slices(args: argparse.Namespace, runs: Seq[Path]) -> tuple[list[ImageSlice], list[ImageSlice]]:
    """Training and validation slices, by a split that is written into each of the folders ``runs``."""
    from acuity.research.datasets import brats
    from acuity.research.datasets.folders import ImageFormat, image_format
    from acuity.research.datasets.slice_sets import read_slices
    from acuity.research.datasets.splits import split_cases, split_of

    folder = brats.data_folder(args.data)
    if image_format(folder) is ImageFormat.BRATS:
        for run_folder in runs:
            split = split_cases(folder, args.split, run_folder)
        print_split(split, runs[-1])
        parts = (brats.fine_cases(split["train"], split), split["validation"])
        train_slices, held_out = (read_slices(folder, cases=part, scale=SCALE) for part in parts)
        return train_slices, held_out
    slices = read_slices(folder, scale=SCALE)
    for run_folder in runs:
        split = split_of(dict.fromkeys((item.case for item in slices), None), args.split, run_folder)
    print_split(split, runs[-1])
    train_slices, held_out = ([s for s in slices if s.case in split[part]] for part in ("train", "validation"))
    return train_slices, held_out


def run_ranker(args: argparse.Namespace) -> int:
    """Make the ranking sets that are not there yet, train the ranker, and print the path of its weights.

    Raises
    ------
    DataError : the data or weights cannot be used
    """
    import torch

    from acuity.networks.ranker import Ranker
    from acuity.research.datasets.ranking import read_ranking_set
    from acuity.research.training.ranker import train

    torch.manual_seed(args.seed)
    paths = [args.output / f"ranking_{part}.pt" for part in ("train", "validation")]
    if not all(path.is_file() for path in paths):
        _make_ranking_sets(args, paths)
    path = train(
        Ranker(),
        *map(read_ranking_set, paths),
        folder=args.output / "ranker",
        iterations=args.iterations,
        batch=args.batch,
        seed=args.seed,
        device=args.device,
    )
    print(path)
    return 0


def _make_ranking_sets(args: argparse.Namespace, paths: list[Path]) -> None:
    """Those of training and validation that are not there yet."""
    import numpy as np

    from acuity.research.datasets.ranking import make_ranking_set
    from acuity.research.degradations.random import draw_bicubic
    from acuity.research.degradations.steps import apply
    from acuity.research.metrics.image import fit_niqe, niqe
    from acuity.research.weights.checkpoints import load_published

    slices, held_out = _slices(args, [args.output / "ranker"])
    model = fit_niqe([s.image for s in slices[:: max(1, len(slices) // 60)]], data_range=1.0, patch_size=NIQE_PATCH)
    networks = {path.parent.name + "/" + path.name: load_published(path)[0] for path in args.network}
    steps = draw_bicubic(np.random.default_rng(0), SCALE)
    counts = (args.patches, max(8, args.patches // 8))
    for path, part, count in zip(paths, (slices, held_out), counts, strict=True):
        if not path.is_file():
            make_ranking_set(
                networks,
                part,
                partial(niqe, model=model, data_range=1.0),
                path,
                degrade=partial(apply, steps=steps),
                count=count,
                size=args.patch,
                seed=args.seed,
            )
