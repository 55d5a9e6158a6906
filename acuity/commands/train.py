"""``acuity train``: train the networks of the recipes, and what else is compared with them.

Trainings of networks resume where they were cut; torchrun gives each GPU a process.
"""

from __future__ import annotations

import argparse

from acuity.commands import train_forest, train_member, train_segmentation, train_super_resolution, train_volume

ACTIONS = {
    "sr": (
        "train one super-resolution method",
        train_super_resolution.add_arguments,
        train_super_resolution.run,
    ),
    "ranker": (
        "train the ranker of RankSRGAN",
        train_super_resolution.add_ranker_arguments,
        train_super_resolution.run_ranker,
    ),
    "volume": (
        "train a super-resolution network that sees whole volumes, for any blur",
        train_volume.add_arguments,
        train_volume.run,
    ),
    "seg": ("train one segmentation network", train_segmentation.add_arguments, train_segmentation.run),
    "member": ("train one fine network of the released segmentation", train_member.add_arguments, train_member.run),
    "forest": ("train the random forest that segments", train_forest.add_arguments, train_forest.run),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    for name, (summary, add, run_action) in ACTIONS.items():
        action = actions.add_parser(name, help=summary)
        add(action)
        action.set_defaults(run_action=run_action)


def run(args: argparse.Namespace) -> int:
    """Train; the exit code.

    Raises
    ------
    DataError : a recipe, the data or weights cannot be used
    """
    code: int = args.run_action(args)
    return code
