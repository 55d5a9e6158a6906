"""``acuity train``: train the networks of the recipes, and what else is compared with them.

``sr`` trains one method of configs/sr: by pixel loss, then adversarially. Methods that share a generator and a
degradation share the first stage. ``ranker`` makes RankSRGAN's data from trained networks and trains its ranker.
``seg`` trains one segmentation network of configs/seg, ``forest`` the random forest. The networks' trainings resume
where they were cut; torchrun gives each GPU a process.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch

from acuity.commands import train_forest, train_segmentation
from acuity.errors import DataError
from acuity.networks.initialization import start_as_interpolation
from acuity.networks.ranker import Ranker, read_ranker
from acuity.research.datasets import brats
from acuity.research.datasets.folders import ImageFormat, case_folders, image_format
from acuity.research.datasets.ranking import make_ranking_set, read_ranking_set
from acuity.research.datasets.slice_sets import ImageSlice, read_slices
from acuity.research.degradations.random import draw_bicubic
from acuity.research.degradations.steps import apply
from acuity.research.metrics.image import fit_niqe, niqe
from acuity.research.training import ranker as ranker_training
from acuity.research.training.pairs import InPlanePairs
from acuity.research.training.recipe_file import recipe_names
from acuity.research.training.super_resolution import train
from acuity.research.training.super_resolution_recipe import Recipe, read_recipe
from acuity.research.weights.checkpoints import load_published
from acuity.resources import config_file

RECIPES = config_file("sr")
NIQE_PATCH = 48  # NIQE's own 96 finds no two patches in a patch of training
SCALE = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    sr = actions.add_parser("sr", help="train one super-resolution method")
    sr.add_argument("--recipe", required=True, metavar="NAME", help=f"one of {', '.join(recipe_names(RECIPES))}")
    sr.add_argument("--recipes", type=Path, default=RECIPES, metavar="FOLDER", help="of recipes, instead of ours")
    sr.add_argument("--iterations", type=int, default=4000, help="of both stages together (%(default)s)")
    sr.add_argument("--pixel-share", type=float, default=0.5, help="part of them by pixel loss alone (%(default)s)")
    sr.add_argument("--paper-size", action="store_true", help="networks as published; needs a GPU")
    sr.add_argument("--initial-weights", type=Path, metavar="FILE", help="start from these, as `acuity weights` reads")
    sr.add_argument("--ranker", type=Path, metavar="FILE", help="weights from `acuity train ranker`, for RankSRGAN")
    ranker = actions.add_parser("ranker", help="train the ranker of RankSRGAN")
    ranker.add_argument(
        "--network",
        action="append",
        default=[],
        metavar="FILE",
        type=Path,
        required=True,
        help="weights of a network whose images are ranked; name two or more",
    )
    ranker.add_argument("--iterations", type=int, default=1000, help="(%(default)s)")
    ranker.add_argument("--patches", type=int, default=400, help="that each network super-resolves (%(default)s)")
    train_segmentation.add_arguments(actions.add_parser("seg", help="train one segmentation network"))
    train_forest.add_arguments(actions.add_parser("forest", help="train the random forest that segments"))
    for action in (sr, ranker):
        action.add_argument(
            "--data",
            type=Path,
            metavar="FOLDER",
            help="BraTS cases, DICOM, NIfTI or fastMRI; default: $ACUITY_DATA/brats",
        )
        action.add_argument("--output", type=Path, default=Path("runs/sr"), metavar="FOLDER", help="(%(default)s)")
        action.add_argument("--batch", type=int, default=8, help="patches of a step and process (%(default)s)")
        action.add_argument("--patch", type=int, default=128, help="size of the truth in pixels (%(default)s)")
        action.add_argument("--seed", type=int, default=0, help="(%(default)s)")
        action.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")


def run(args: argparse.Namespace) -> int:
    """Train.

    Raises
    ------
    DataError
        When a recipe, the data or weights cannot be used.
    """
    if args.action == "forest":
        return train_forest.run(args)
    torch.manual_seed(args.seed)
    trainings = {"sr": _train_method, "ranker": _train_ranker, "seg": train_segmentation.run}
    print(trainings[args.action](args))
    return 0


def _train_method(args: argparse.Namespace) -> Path:
    recipe = _recipe(args)
    slices, held_out = _slices(args)
    common = {"batch": args.batch, "seed": args.seed, "device": args.device}
    pairs = InPlanePairs(slices, recipe.degradation, SCALE, args.patch)
    validation_pairs = InPlanePairs(held_out, recipe.degradation, SCALE, args.patch)
    pixel_iterations = round(args.pixel_share * args.iterations)
    if args.initial_weights is None:
        start_as_interpolation(recipe.generator)
    pixel = train(
        recipe,
        pairs,
        validation_pairs,
        stage="pixel",
        folder=args.output / pixel_stage_name(recipe),
        iterations=pixel_iterations,
        initial_weights=args.initial_weights,
        **common,
    )
    return train(
        recipe,
        pairs,
        validation_pairs,
        stage="adversarial",
        folder=args.output / args.recipe,
        iterations=args.iterations - pixel_iterations,
        initial_weights=pixel,
        **common,
    )


def pixel_stage_name(recipe: Recipe) -> str:
    """Folder of the first stage, which knows of a recipe its generator and its degradation alone."""
    return f"pixel_{type(recipe.generator).__name__.lower()}_{recipe.degradation.__name__.removeprefix('draw_')}"


def _recipe(args: argparse.Namespace) -> Recipe:
    ranker = None if args.ranker is None else read_ranker(args.ranker)
    return read_recipe(
        args.recipes / f"{args.recipe}.yaml", compact=not args.paper_size, patch=args.patch, ranker=ranker
    )


def _slices(args: argparse.Namespace) -> tuple[list[ImageSlice], list[ImageSlice]]:
    """Training and validation slices: of BraTS by the fixed split, else each tenth case is held out."""
    folder = brats.data_folder(args.data)
    if image_format(folder) is ImageFormat.BRATS:
        split = brats.read_split()
        present = {case.name for case in case_folders(folder)}
        parts = (brats.fine_cases(split["train"]), split["validation"])
        train_slices, held_out = (
            read_slices(folder, cases=[case for case in part if case in present], scale=SCALE) for part in parts
        )
        return train_slices, held_out
    slices = read_slices(folder, scale=SCALE)
    cases = list(dict.fromkeys(item.case for item in slices))
    if len(cases) < 2:
        raise DataError(
            f"{folder} holds one case, {cases[0]}.",
            rule="One case in ten is held out for validation.",
            remedy="Give a folder of two cases or more.",
        )
    kept = set(cases[::10])
    return [item for item in slices if item.case not in kept], [item for item in slices if item.case in kept]


def _train_ranker(args: argparse.Namespace) -> Path:
    paths = [args.output / f"ranking_{part}.pt" for part in ("train", "validation")]
    if not all(path.is_file() for path in paths):
        _make_ranking_sets(args, paths)
    return ranker_training.train(
        Ranker(),
        *map(read_ranking_set, paths),
        folder=args.output / "ranker",
        iterations=args.iterations,
        batch=args.batch,
        seed=args.seed,
        device=args.device,
    )


def _make_ranking_sets(args: argparse.Namespace, paths: list[Path]) -> None:
    """Those of training and validation that are not there yet."""
    slices, held_out = _slices(args)
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
