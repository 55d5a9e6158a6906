"""What the user of a run may wish, the command line of the application, and the variables that replace it.

Nothing slow is imported here, so that ``--help`` and a wrong command line are answered at once.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from acuity import __version__, anatomy
from acuity.assessment import OPTION

MAX_SPACING = 1.0  # mm, of the segmentation network's training
# The values of -l in the Deploy SDK's own applications.
_VERBOSITY = {"DEBUG": 2, "INFO": 1, "WARN": 0, "ERROR": -1, "CRITICAL": -1}
Only = Literal["sr", "seg"]
_SWITCH = {"": False, "0": False, "1": True}  # values of a variable for an option without a value


@dataclass(frozen=True)
class Options:
    """The user's wishes.

    Parameters
    ----------
    input : folder (or DICOMDIR, or file) of one study
    output : folder for the results; created if need be
    models : folder that holds the bundles
    rules : file with rules that replace the built-in ones for choosing the series; None for the built-in ones
    series : for a sequence the SeriesInstanceUID that the user names, or "#" and the series' number
    spacing : coarsest voxel spacing in mm along i, j, k after super-resolution; an axis of the source that is
        finer keeps its own
    denoising : non-local means before or after super-resolution; None for none
    fusion : super-resolve across the slices in two planes and take the mean
    allow_missing : run although sequences, or parts of them, are missing, and say what is not assessable then
    images : NIfTI files in place of ``input``, for a run of ``acuity run``
    only : of NIfTI, super-resolution ("sr") or segmentation ("seg") alone; None for both
    stripped : NIfTI images are skull-stripped and aligned; False to recognize it
    verbosity : -1 silent but for errors, 0 one line a stage, 1 with details, 2 for developers
    """

    input: Path
    output: Path
    models: Path
    rules: Path | None = None
    series: Mapping[anatomy.Sequence, str] = field(default_factory=dict)
    spacing: tuple[float, float, float] = (MAX_SPACING, MAX_SPACING, MAX_SPACING)
    denoising: Literal["before", "after"] | None = None
    fusion: bool = False
    allow_missing: bool = False
    images: Mapping[anatomy.Sequence, Path] = field(default_factory=dict)
    only: Only | None = None
    stripped: bool = False
    verbosity: int = 0


def parse_options(
    argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ, default_models: Path = Path("bundles")
) -> Options:
    """Read the command line; ``environ`` and then the defaults fill in absent options.

    Parameters
    ----------
    argv : arguments without the program's name; None for those of the process
    environ : environment variables
    default_models : the folder of the bundles where neither names one

    Raises
    ------
    SystemExit : with 2 for a wrong command line, with 0 after ``--help`` or ``--version``
    """
    parser = _parser(environ, default_models)
    args = parser.parse_args(argv)
    return Options(
        input=args.input,
        output=args.output,
        models=args.model,
        verbosity=_VERBOSITY[args.log_level] if args.log_level else -1 if args.quiet else args.verbose,
        **chosen_wishes(parser, args, environ),
    )


def chosen_wishes(
    parser: argparse.ArgumentParser, args: argparse.Namespace, environ: Mapping[str, str]
) -> dict[str, Any]:
    """Fields of ``Options`` for the arguments of ``add_wishes``; ends the process with 2 where they are wrong."""
    try:
        named = args.series or [named_series(text) for text in environ.get("ACUITY_SERIES", "").split()]
    except argparse.ArgumentTypeError as error:
        parser.error(f"variable ACUITY_SERIES: {error}")
    series = dict(named)
    if len(series) < len(named):
        parser.error("argument --series: one sequence is named twice")
    for switch in ("fusion", "allow_missing"):
        if getattr(args, switch) is None:
            name = f"ACUITY_{switch.upper()}"
            parser.error(f"variable {name}: {environ[name]!r} is neither 0 nor 1")
    return {
        "rules": args.rules,
        "series": series,
        "spacing": args.spacing,
        "denoising": args.denoise,
        "fusion": args.fusion,
        "allow_missing": args.allow_missing,
    }


def _parser(environ: Mapping[str, str], default_models: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="app.py",
        description="Super-resolve the MR series of one brain tumor study, segment the tumor and measure it. "
        "Reads DICOM, writes DICOM.",
        epilog="Exit codes: 0 done; 1 unexpected failure; 2 wrong command line; 10 to 69 a refusal, whose code, "
        "rule and remedy stand in result.json. Variables in brackets take the place of an option.",
    )
    parser.add_argument("--version", action="version", version=f"acuity {__version__}")
    parser.add_argument(
        "-i",
        "--input",
        type=Path,
        default=Path(environ.get("HOLOSCAN_INPUT_PATH") or "input"),
        metavar="IN",
        help="folder of one DICOM study [HOLOSCAN_INPUT_PATH] (default: input)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(environ.get("HOLOSCAN_OUTPUT_PATH") or "output"),
        metavar="OUT",
        help="folder for the results [HOLOSCAN_OUTPUT_PATH] (default: output)",
    )
    parser.add_argument(
        "-m",
        "--model",
        type=Path,
        default=Path(environ.get("HOLOSCAN_MODEL_PATH") or default_models),
        metavar="MODELS",
        help="folder of the bundles [HOLOSCAN_MODEL_PATH] (default: those that came with the application)",
    )
    add_wishes(parser, environ)
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("-v", "--verbose", action="count", default=0, help="say more; -vv for developers")
    volume.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    volume.add_argument(
        "-l",
        "--log-level",
        type=str.upper,
        choices=_VERBOSITY,
        help="the same by the names that other applications of the Deploy SDK take",
    )
    return parser


def add_wishes(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Arguments of the application and of ``acuity run``: the series to take, and how to work on them."""
    parser.add_argument(
        "--rules",
        type=Path,
        default=environ.get("ACUITY_RULES") or None,
        metavar="FILE",
        help="rules for choosing the series, in place of the built-in ones [ACUITY_RULES]",
    )
    parser.add_argument(
        "--series",
        type=named_series,
        action="append",
        metavar="SEQUENCE=SERIES",
        help="take this series for T1, T1c, T2 or FLAIR, by its UID or by # and its number (T1c=#5); "
        "may be repeated [ACUITY_SERIES, separated by blanks]",
    )
    parser.add_argument(
        "--spacing",
        type=_spacing,
        default=environ.get("ACUITY_SPACING") or f"{MAX_SPACING:g}",
        metavar="MM",
        help="voxel spacing after super-resolution, one number or three separated by "
        "commas; an axis that is finer keeps its own [ACUITY_SPACING] (default: %(default)s)",
    )
    parser.add_argument(
        "--denoise",
        type=_denoising,
        default=environ.get("ACUITY_DENOISE") or None,
        metavar="{before,after}",
        help="remove noise by non-local means before or after super-resolution; after it, what was measured stays, "
        "its noise included [ACUITY_DENOISE] (default: not at all)",
    )
    parser.add_argument(
        "--fusion",
        action=argparse.BooleanOptionalAction,
        default=_SWITCH.get(environ.get("ACUITY_FUSION", "")),
        help="super-resolve across the slices in two planes and take the mean: one pass more "
        "[ACUITY_FUSION, 0 or 1] (default: no)",
    )
    parser.add_argument(
        OPTION,
        action=argparse.BooleanOptionalAction,
        default=_SWITCH.get(environ.get("ACUITY_ALLOW_MISSING", "")),
        help="run without T1c, T1 or T2, or with sequences that show a part of the brain; what cannot be told then is "
        "called not assessable. FLAIR is always needed [ACUITY_ALLOW_MISSING, 0 or 1] (default: no)",
    )


def named_series(text: str) -> tuple[anatomy.Sequence, str]:
    """Parse "T1c=1.2.3" or "T1c=#5"; raises argparse.ArgumentTypeError for another form."""
    name, _, uid = text.partition("=")
    names = {sequence.value.lower(): sequence for sequence in anatomy.Sequence}
    if name.lower() not in names:
        known = ", ".join(sequence.value for sequence in anatomy.Sequence)
        raise argparse.ArgumentTypeError(
            f"{name!r} is no sequence; write one of {known}, then = and the SeriesInstanceUID or # and the number"
        )
    if not uid:
        raise argparse.ArgumentTypeError(f"no SeriesInstanceUID follows {name!r}; write {name}=UID")
    return names[name.lower()], uid.strip()


def _denoising(text: str) -> str:
    if text not in ("before", "after"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither before nor after")
    return text


def _spacing(text: str) -> tuple[float, float, float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not one or three numbers of mm") from None
    if len(numbers) not in (1, 3) or not all(0.25 <= number <= 10 for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not one or three numbers between 0.25 and 10 mm")
    i, j, k = numbers * 3 if len(numbers) == 1 else numbers
    return i, j, k
