"""``acuity train volume``: train a super-resolution network that sees whole volumes, for any blur."""

from __future__ import annotations

import argparse
from pathlib import Path

from acuity.commands.arguments import add_split, print_split
from acuity.resources import config_file

HELD_OUT_STEP = 3  # every third volume of the validation cases is enough


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action's own arguments."""
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="BraTS cases")
    add_split(parser)
    parser.add_argument("--output", type=Path, default=Path("runs/sr_volume"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--iterations", type=int, default=4000, help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="patches of a step and process (%(default)s)")
    parser.add_argument("--patch", type=int, default=48, help="size of the truth in voxels, even (%(default)s)")
    parser.add_argument("--initial-weights", type=Path, metavar="FILE", help="of the same network, to start from")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")


def run(args: argparse.Namespace) -> int:
    """Train, and print the path of the weights.

    Raises
    ------
    DataError : the data, the split or weights cannot be used
    """
    import torch  # it and what is below take seconds, which a wrong command line should not

    from acuity.research.datasets import brats
    from acuity.research.datasets.splits import split_cases
    from acuity.research.datasets.volume_patches import read_volumes
    from acuity.research.training.super_resolution import Plan, train
    from acuity.research.training.super_resolution_recipe import read_recipe
    from acuity.research.training.volume_pairs import AcquisitionPairs

    torch.manual_seed(args.seed)
    recipe = read_recipe(config_file("sr_volume.yaml"), compact=True, patch=args.patch)
    folder = brats.data_folder(args.data)
    split = split_cases(folder, args.split, args.output)
    print_split(split, args.output)
    path = train(
        recipe,
        AcquisitionPairs(read_volumes(folder, brats.fine_cases(split["train"], split)), args.patch),
        AcquisitionPairs(read_volumes(folder, split["validation"])[::HELD_OUT_STEP]),
        Plan("pixel", args.iterations, batch=args.batch, seed=args.seed),
        folder=args.output,
        initial_weights=args.initial_weights,
        device=args.device,
    )
    print(path)
    return 0
