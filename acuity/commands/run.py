"""``acuity run``: super-resolve the MR images of one brain tumor study, segment the tumor and measure it.

INPUT is a DICOM study, with the stages, outputs and exit codes of ``app.py``; Holoscan is not needed. Or it is the
folder of one case in NIfTI with BraTS names (or --t1, --t1c, --t2 and --flair name the files), and NIfTI comes out.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import get_args

from acuity.anatomy import Sequence
from acuity.errors import InputNotFoundError
from acuity.pipeline.nifti_files import is_nifti
from acuity.pipeline.options import Only, Options, add_wishes, chosen_wishes
from acuity.resources import released_bundles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument(
        "input", metavar="INPUT", type=Path, nargs="?", help="folder of one DICOM study, or of one case in NIfTI"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, required=True, help="folder for the results, new or empty"
    )
    parser.add_argument(
        "-m",
        "--model",
        metavar="MODELS",
        type=Path,
        default=Path(os.environ.get("ACUITY_MODELS") or released_bundles()),
        help="folder of the bundles [ACUITY_MODELS] (default: those that came with Acuity)",
    )
    nifti = parser.add_argument_group("NIfTI", "Images on one grid count as aligned; others are registered to T1c.")
    for sequence in Sequence:
        text = f"the {sequence.value} image, in place of INPUT"
        nifti.add_argument(f"--{sequence.value.lower()}", metavar="FILE", type=Path, help=text)
    nifti.add_argument(
        "--stripped", action="store_true", help="the images are skull-stripped and aligned (default: recognized)"
    )
    nifti.add_argument(
        "--only",
        choices=get_args(Only),
        help="sr: sharpen each image on its own, one is enough; seg: find the tumor in the images as they are",
    )
    add_wishes(parser, os.environ)
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.set_defaults(parser=parser)


def run(args: argparse.Namespace) -> int:
    """Perform the run; ends the process with the run's exit code.

    Raises
    ------
    InputNotFoundError : INPUT does not exist; nothing slow was imported and nothing is written
    """
    options = _options(args)
    if args.input is not None and not args.input.exists():
        raise InputNotFoundError(f"INPUT, {args.input}, does not exist.", remedy="Give a folder or file that exists.")
    if not is_nifti(options) and (options.only or options.stripped):
        args.parser.error("--only and --stripped are for NIfTI, and INPUT holds none, or DICOM too")
    from acuity.commands.progress import RunWithBar
    from acuity.pipeline.api import stages_for
    from acuity.pipeline.graph import run_stages
    from acuity.pipeline.launch import launch
    from acuity.pipeline.run import Run

    computing, writing = stages_for(options)
    shown = sys.stderr.isatty() and not args.quiet
    launch((RunWithBar if shown else Run)(options), lambda run, models: run_stages(run, models, computing + writing))


def _options(args: argparse.Namespace) -> Options:
    images = {s: path for s in Sequence if (path := getattr(args, s.value.lower())) is not None}
    if (args.input is None) == (not images):
        args.parser.error("give either INPUT or the files by --t1, --t1c, --t2 and --flair")
    return Options(
        input=args.input or Path(),
        output=args.output,
        models=args.model,
        images=images,
        only=args.only,
        stripped=args.stripped,
        verbosity=-1 if args.quiet else args.verbose,
        **chosen_wishes(args.parser, args, os.environ),
    )
