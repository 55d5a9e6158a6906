"""Make the MONAI Application Package: the build contexts of its two images and, where docker runs, the images."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from acuity import __version__
from acuity.errors import AcuityError, DataError, OutputError
from tools.package_content import digest, read_revision, sizes
from tools.package_contexts import write_cpu_context, write_sdk_context

REPOSITORY = Path(__file__).resolve().parent.parent
FLAVOURS = ("cpu", "sdk")
_TAG = re.compile(r"[a-z0-9]+(?:[._/:-]+[a-z0-9]+)*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,123}")


def package(flavour: str, folder: Path, tag: str) -> Path:
    """Write the context of one flavour, checked, into ``folder``/``flavour``; an earlier one there is replaced.

    Raises
    ------
    OutputError
        When the folder holds something other than an earlier context.
    DataError
        When the context is not what it must be.
    """
    context = _fresh(folder / flavour)
    revision = read_revision(REPOSITORY)
    if flavour == "cpu":
        write_cpu_context(REPOSITORY, context, revision)
    else:
        write_sdk_context(REPOSITORY, context, revision, tag)
    return context


def docker_is_running() -> bool:
    """Whether an engine answers; the program alone is none."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def build(context: Path, tag: str) -> None:
    """Build the image of a context.

    Raises
    ------
    DataError
        When docker fails; it has said why.
    """
    if subprocess.run(["docker", "build", "--platform", "linux/amd64", "--tag", tag, context], check=False).returncode:
        raise DataError(
            f"The image {tag} could not be built.",
            rule="The context is complete; docker needs the base image and the packages that it names.",
            remedy="See docker's message above; packaging/README.md says how to name mirrors.",
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Make what the arguments ask for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flavour", choices=(*FLAVOURS, "both"), default="both", help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("dist/map"),
        metavar="DIR",
        help="folder for the contexts, in cpu/ and sdk/ of it (default: %(default)s)",
    )
    parser.add_argument(
        "--tag",
        type=_tag,
        default=f"acuity:{__version__}",
        metavar="NAME:TAG",
        help="of the images; -cpu or -sdk is added (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    console = Console()
    try:
        for flavour in FLAVOURS if args.flavour == "both" else (args.flavour,):
            tag = f"{args.tag}-{flavour}"
            context = package(flavour, args.output, tag)
            _report(console, context)
            if docker_is_running():
                build(context, tag)
                _say(console, f"image: {tag}")
            else:
                _say(console, f"no docker engine answers; to build the image: docker build --tag {tag} {context}")
    except AcuityError as error:
        print(f"error: {error.code}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _tag(text: str) -> str:
    if not _TAG.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of an image with a tag, such as acuity:{__version__}")
    return text


def _fresh(context: Path) -> Path:
    if context.exists() and not (context / "map" / "app.json").is_file() and any(context.iterdir()):
        raise OutputError(
            f"The folder {context} holds other files.",
            rule="A context is written to a new or empty folder, or replaces an earlier one.",
            remedy="Name another folder with --output.",
        )
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    return context


def _report(console: Console, context: Path) -> None:
    parts = sizes(context)
    table = Table(title=f"Build context {context}")
    table.add_column("part")
    table.add_column("kB", justify="right")
    for part, size in {**parts, "all": sum(parts.values())}.items():
        table.add_row(part, f"{size / 1e3:,.0f}")
    console.print(table)
    _say(console, f"sha256 of all paths, modes, times and bytes: {digest(context)}")


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
