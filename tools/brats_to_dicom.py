"""Write a BraTS case as a low-resolution study of four DICOM series.

The result is a patient's data as the case itself is: it stays outside the repository.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from acuity.anatomy import Sequence
from acuity.demo.classic_mr import degrade, write_study
from acuity.errors import AcuityError
from acuity.research.datasets.brats import read_case
from acuity.signals import end_on_signals


def convert(case_folder: Path, out: Path, spacing: tuple[float, float, float]) -> dict[Sequence, list[Path]]:
    """The four images of a case, shrunk to ``spacing`` mm along i, j, k (antialiased cubic), as DICOM in ``out``.

    Returns the files of each series. Raises DataError when an image of the case is missing, and ValueError
    for a spacing finer than the case's 1 mm.
    """
    volumes = {sequence: degrade(volume, spacing) for sequence, volume in read_case(case_folder).items()}
    return write_study(
        volumes,
        out,
        identity=f"BraTS case {case_folder.name}, spacing {spacing}",
        patient_name="BRATS^CASE",
        description="BraTS case as DICOM",
    )


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and convert; the exit code is 0, or the error's own."""
    end_on_signals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", type=Path, help="folder NAME with NAME_t1, _t1ce, _t2 and _flair, each .nii.gz")
    parser.add_argument("out", type=Path, help="folder for the study; must not exist or be empty")
    parser.add_argument(
        "--spacing",
        type=float,
        nargs="+",
        default=[2.0],
        metavar="MM",
        help="voxel size in mm, one number or three (left, back, head); default 2",
    )
    options = parser.parse_args(arguments)
    if len(options.spacing) not in (1, 3) or min(options.spacing) < 1.0:
        parser.error(f"--spacing {options.spacing}: one number or three, none below the case's 1 mm")
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        parser.error(f"{options.out} is not an empty folder: name a new one")
    spacing = tuple(options.spacing * (3 // len(options.spacing)))
    try:
        series = convert(options.case.resolve(), options.out, spacing)
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{len(series)} series of {len(next(iter(series.values())))} slices each in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
