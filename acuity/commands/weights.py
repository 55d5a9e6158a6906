"""``acuity weights``: import and describe weights of super-resolution networks.

``import`` reads what a method's authors released, or an ncnn model, and writes the same network for one channel as a
state_dict; ``show`` describes a file and writes nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from acuity.errors import OutputError

if TYPE_CHECKING:
    from acuity.research.weights.checkpoints import WeightsDescription


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    importer = actions.add_parser("import", help="convert weights to Acuity's, for one channel, and describe them")
    show = actions.add_parser("show", help="describe a file of weights; nothing is written")
    for action in (importer, show):
        action.add_argument("source", metavar="FILE", type=Path, help="a .pth or .pt file, or an ncnn model's .param")
    importer.add_argument("out", metavar="OUT", type=Path, help="the file to write, a state_dict (.pt)")


def run(args: argparse.Namespace) -> int:
    """Print the table; for ``import`` write the weights.

    Raises
    ------
    DataError
        When the file cannot be read or its format is unknown.
    OutputError
        When the result cannot be written.
    """
    import torch

    from acuity.research.weights.checkpoints import load_published

    network, description = load_published(args.source)
    if args.action == "import":
        try:
            with args.out.open("xb") as file:
                torch.save(network.state_dict(), file)
        except OSError as error:
            raise OutputError(
                f"The weights cannot be written to {args.out} ({error.strerror}).",
                rule="They go to a new file in an existing folder.",
                remedy="Name another file.",
            ) from error
    _print(description)
    return 0


def _print(description: WeightsDescription) -> None:
    d = description
    table = Table(show_header=False)
    sizes = f"{d.features} features, {d.blocks} blocks" + (f", growth {d.growth}" if d.growth else "")
    for name, text in (
        ("architecture", d.architecture),
        ("sizes", sizes),
        ("scale", f"x{d.scale}" if d.scale else "that of the interpolated image it takes"),
        ("format", d.format),
        ("channels in the file", str(d.channels)),
        ("parameters in the file", f"{d.file_parameters:,}"),
        ("parameters, one channel", f"{d.parameters:,}"),
        ("sha256", d.sha256),
    ):
        table.add_row(name, text)
    # wide enough for the hash, that it can be copied from a narrow terminal or a log
    Console(width=100).print(table)
