"""The ``acuity`` command: arguments in, an exit code out; what it does is in ``acuity.commands``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from acuity import __version__
from acuity.console import print_error, print_parts
from acuity.errors import AcuityError
from acuity.signals import end_on_signals

# A module of acuity.commands each. Only the one that is asked for is imported: torch alone takes seconds.
COMMANDS = {
    "run": "sharpen a study, find the tumor and measure it; DICOM or NIfTI",
    "inspect": "show the series of a study and which would be T1, T1c, T2 and FLAIR",
    "train": "train super-resolution and segmentation models by recipe",
    "demo": "make a study with a known tumor, run the application on it, show what it found",
    "weights": "import and describe weights of super-resolution networks",
    "evaluate": "measure super-resolution and segmentation on images whose truth is known",
    "exec": "run an application of the MONAI Deploy App SDK",
    "dataset": "check BraTS cases; make them at low resolution, brought back, cropped, altered, or without a tumor",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit code.

    0 is success, 2 a wrong command line (argparse ends the process), and a refusal ends with the ``exit_code`` of
    its class in ``acuity.errors``, after found, rule and remedy on stderr. Whatever was not foreseen ends with 1, and
    a file that cannot be written for want of room as ``OutputError`` does. A pipe that was closed (``| head``), Ctrl-C
    and SIGTERM end with 128 and the signal's number, as in a shell; the latter two end the process at once.
    """
    end_on_signals()
    words = sys.argv[1:] if argv is None else list(argv)
    args = build_parser(words).parse_args(words)
    level = logging.WARNING - 10 * min(args.verbose, 2)
    logging.basicConfig(level=level, stream=sys.stderr, format="%(name)s: %(message)s", force=True)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its messages quote values, which identify patients
    try:
        return int(args.run(args))
    except AcuityError as error:
        print_error(error)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python fails once more when it flushes
        return 128 + signal.SIGPIPE
    except Exception as error:
        return _unforeseen(error)


def _unforeseen(error: Exception) -> int:
    """Tell of an exception without its text, which may quote a header or a file name, and return the exit code."""
    from acuity.pipeline.publication import concerns_output, not_writable
    from acuity.pipeline.result import describe_error, steps_of

    if concerns_output(error):
        error = not_writable(error)
        print_error(error)
        return error.exit_code
    described = describe_error(error)
    assert described is not None
    remedy = "This is a fault of the program. Please report it with these lines and what -v says of it."
    print_parts(described["code"], described["found"], "", remedy)
    logging.getLogger(__name__).info("%s", steps_of(error))
    return int(described["exit_code"])


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for a command line; of the subcommands, the one that ``words`` name has its arguments."""
    parser = argparse.ArgumentParser(
        prog="acuity", description="MR super-resolution and brain tumor segmentation, from DICOM to DICOM."
    )
    parser.add_argument("--version", action="version", version=f"acuity {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    asked = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary)
        subparser.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice for still more")
        if name == asked:
            command = import_module(f"acuity.commands.{name}")
            subparser.description = str(command.__doc__).partition(": ")[2]
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
