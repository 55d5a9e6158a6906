"""NIfTI files as an input: which are there, and which sequence each is by its name. Nothing slow is imported here."""

from __future__ import annotations

import re
from pathlib import Path

from acuity.anatomy import Sequence
from acuity.errors import AmbiguousSequenceError, MissingSequenceError
from acuity.pipeline.options import Options

# The last part of a file's name, as BraTS has it up to 2021 (NAME_t1ce) and since 2023 (NAME-t1c).
SEQUENCE_ENDINGS = {
    **dict.fromkeys(("t1", "t1n"), Sequence.T1),
    **dict.fromkeys(("t1c", "t1ce", "t1gd"), Sequence.T1C),
    **dict.fromkeys(("t2", "t2w"), Sequence.T2),
    **dict.fromkeys(("flair", "t2f"), Sequence.FLAIR),
}
_SUFFIX = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


def nifti_files(path: Path) -> list[Path]:
    """The NIfTI files of a folder and its subfolders; of a file, itself if it is one."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return [file for file in files if _SUFFIX.search(file.name)]


def is_nifti(options: Options) -> bool:
    """Whether a run's input is NIfTI: files by name, or a folder of NIfTI files without a DICOM file."""
    path = options.input
    return bool(options.images) or (
        bool(nifti_files(path)) and not any(is_dicom(file) for file in [path, *path.rglob("*")])
    )


def is_dicom(path: Path) -> bool:
    """Whether a path is a file with the prefix of DICOM PS3.10."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def named_images(folder: Path) -> dict[Sequence, Path]:
    """The images of a folder whose names end as BraTS has them, in the order of ``Sequence``.

    Raises
    ------
    MissingSequenceError : no name ends so
    AmbiguousSequenceError : two files are one sequence
    """
    files = nifti_files(folder)
    found: dict[Sequence, Path] = {}
    for file in files:
        sequence = SEQUENCE_ENDINGS.get(re.split(r"[_-]", _SUFFIX.sub("", file.name).lower())[-1])
        if sequence is None:
            continue
        if sequence in found:
            raise AmbiguousSequenceError(
                f"Two NIfTI files are {sequence.value} by their names.",
                rule="A folder holds one case, each sequence once.",
                remedy="Give the folder of one case, or name the files with --t1, --t1c, --t2 and --flair.",
            )
        found[sequence] = file
    if not found:
        raise MissingSequenceError(
            f"None of {len(files)} NIfTI files is a sequence by its name.",
            rule="Names end in _t1, _t1ce, _t2, _flair or in -t1n, -t1c, -t2w, -t2f, as in BraTS.",
            remedy="Name the files with --t1, --t1c, --t2 and --flair.",
        )
    return {sequence: found[sequence] for sequence in Sequence if sequence in found}
