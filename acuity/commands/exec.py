"""`acuity exec`: run an application of the MONAI Deploy App SDK, as `monai-deploy exec` did up to SDK 0.5.1."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

LOG_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "CRITICAL")  # what applications of the SDK take for -l
WORKDIR_VARIABLE = "HOLOSCAN_WORKDIR"
_OWN = "--"  # what follows it is the application's own
_PATHS = (
    ("-i", "--input", "input folder or file", "HOLOSCAN_INPUT_PATH"),
    ("-o", "--output", "output folder", "HOLOSCAN_OUTPUT_PATH"),
    ("-m", "--model", "folder or file of the models", "HOLOSCAN_MODEL_PATH"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options, and the application."""
    _add_options(parser)
    parser.add_argument(
        "application", metavar="APP", type=program_of, help="a Python file, or a folder with __main__.py or app.py"
    )
    parser.add_argument(
        "rest",
        nargs=argparse.REMAINDER,
        metavar="...",
        help=f"the options may stand here too; after {_OWN} come arguments that the application has of its own",
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    for short, long, what, variable in _PATHS:
        parser.add_argument(short, long, help=f"{what} (default: ${variable}, or what the application takes)")
    parser.add_argument("-l", "--log-level", type=str.upper, choices=LOG_LEVELS, help="default: the application's")
    parser.add_argument(
        "-w",
        "--workdir",
        type=_folder,
        help=f"folder for temporary files, made if need be; the application finds it in ${WORKDIR_VARIABLE}",
    )


def run(args: argparse.Namespace) -> NoReturn:
    """Become the application: its exit code is the command's, and a signal to the command reaches it."""
    command = command_line(args)
    environment = dict(os.environ)
    if args.workdir is not None:
        environment[WORKDIR_VARIABLE] = str(args.workdir)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, environment)


def command_line(args: argparse.Namespace) -> list[str]:
    """The Python interpreter, the application and its arguments; ``args`` gets the options that stood behind it.

    The paths are handed on as they are: which of them must exist is the application's to say, and where there is
    none, it turns to the ``HOLOSCAN_*`` variables. The working folder is no argument, because an application may
    take none, but each may read the variable.

    Raises
    ------
    SystemExit
        With 2 for a wrong command line.
    """
    end = args.rest.index(_OWN) if _OWN in args.rest else len(args.rest)
    parser = argparse.ArgumentParser(
        prog="acuity exec APP", epilog=f"{_OWN} may follow, and then arguments that the application has of its own"
    )
    _add_options(parser)
    _, unknown = parser.parse_known_args(args.rest[:end], namespace=args)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}; the application's own come after {_OWN}")
    command = [sys.executable, str(args.application)]
    for flag, value in (("-i", args.input), ("-o", args.output), ("-m", args.model), ("-l", args.log_level)):
        command += [flag, value] if value is not None else []
    return command + args.rest[end + 1 :]


def program_of(text: str) -> Path:
    """What the interpreter is to run for ``APP``: the file, the folder if it has ``__main__.py``, or its ``app.py``.

    Raises
    ------
    argparse.ArgumentTypeError
        When there is no such application.
    """
    path = Path(text)
    if path.is_file() or (path / "__main__.py").is_file():
        return path
    if (path / "app.py").is_file():
        return path / "app.py"
    found = "has neither __main__.py nor app.py" if path.is_dir() else "does not exist"
    raise argparse.ArgumentTypeError(f"{text!r} {found}; name the application's Python file, or the folder of one")


def _folder(text: str) -> Path:
    path = Path(text).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a folder: {error.strerror}") from None
    return path
