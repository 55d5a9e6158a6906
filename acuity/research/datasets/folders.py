"""Folders of images: finding out their format, and reading volumes from DICOM and NIfTI."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nibabel.filebasedimages import ImageFileError

from acuity.dicom.reading.files import find_dicom
from acuity.dicom.reading.read import load_stack, read_study
from acuity.errors import DataError
from acuity.research.datasets.brats import is_mask, read_image
from acuity.research.datasets.layouts import find_cases
from acuity.volume import Volume

logger = logging.getLogger(__name__)


class ImageFormat(StrEnum):
    """The formats that a folder of images may hold."""

    BRATS = "BraTS cases"
    FASTMRI = "fastMRI files"
    NIFTI = "NIfTI files"
    DICOM = "DICOM files"


@dataclass(frozen=True)
class NamedVolume:
    """A volume and its origin.

    Parameters
    ----------
    case : path of the file or study within the folder, without suffix
    sequence : distinguishes the volumes of a case; "" in NIfTI
    """

    case: str
    sequence: str
    volume: Volume


def image_format(folder: Path) -> ImageFormat:
    """The format of the images in ``folder`` and its subfolders, by the names of the files and by DICOM headers.

    Other files are ignored. Links are followed. What BraTS cases are says ``acuity.research.datasets.layouts``.

    Raises
    ------
    DataError : the folder does not exist, holds no image, or holds several formats
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder.", rule="Images are read from a folder.", remedy="Name one that exists."
        )
    cases = {case.folder for case in find_cases(folder)}
    nifti = nifti_files(folder)
    counts = {
        ImageFormat.BRATS: len(cases),
        ImageFormat.FASTMRI: len(fastmri_files(folder)),
        ImageFormat.NIFTI: sum(cases.isdisjoint(file.parents) for file in nifti),
        ImageFormat.DICOM: len(find_dicom(folder).datasets),
    }
    found = [kind for kind, count in counts.items() if count]
    if not found:
        raise DataError(
            f"{folder} holds no image.",
            rule=f"A folder of images holds {' or '.join(ImageFormat)}.",
            remedy="Check the path, and unpack archives.",
        )
    if len(found) > 1:
        kinds = " and ".join(f"{counts[kind]} {kind}" for kind in found)
        raise DataError(
            f"{folder} holds {kinds}.",
            rule="A folder of images has one format.",
            remedy="Keep each format in a folder of its own, and name one of them.",
        )
    return found[0]


def fastmri_files(folder: Path) -> list[Path]:
    """The .h5 files in ``folder`` and its subfolders."""
    return _files(folder, ".h5")


def nifti_files(folder: Path) -> list[Path]:
    """The .nii and .nii.gz files in ``folder`` and its subfolders."""
    return _files(folder, ".nii", ".nii.gz")


def _files(folder: Path, *endings: str) -> list[Path]:
    """Those that are not hidden, in linked folders too; a link that leads back up is not followed again."""
    found, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(root))
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(root, name)) not in seen]
        found += [Path(root, name) for name in names if name.endswith(endings) and not name.startswith(".")]
    return sorted(found)


def case_name(file: Path, folder: Path) -> str:
    """The file's path within ``folder`` without .h5, .nii or .nii.gz."""
    return file.relative_to(folder).as_posix().removesuffix(".gz").removesuffix(".nii").removesuffix(".h5")


def read_nifti(folder: Path) -> Iterator[NamedVolume]:
    """Read each NIfTI file as a volume.

    Raises
    ------
    DataError : a file that is damaged, a mask, or not an image of three axes
    """
    for file in nifti_files(folder):
        try:
            volume = read_image(file)
        except (ImageFileError, OSError, EOFError, ValueError) as error:
            raise DataError(
                f"{case_name(file, folder)} cannot be read as a NIfTI image of three axes.",
                rule="A volume is one whole NIfTI file with three axes.",
                remedy="Write it again, a series of volumes as one file each, or leave it out.",
            ) from error
        if is_mask(volume.array):
            raise DataError(
                f"{case_name(file, folder)} is a mask: it has {len(set(volume.array.flat))} values alone.",
                rule="All NIfTI files in a folder are taken for images.",
                remedy="Keep masks in a folder of their own, or name images and masks as BraTS does.",
            )
        yield NamedVolume(case_name(file, folder), "", volume)


def read_dicom(folder: Path) -> Iterator[NamedVolume]:
    """Read each volume of the study in ``folder``, or of the studies in its subfolders.

    Series that the reader refuses are left out, with a warning that gives the reason. A case is named after its folder,
    never by a patient's name or number in its headers. A sequence is named by the number of its series and the
    attributes that distinguish the volumes of that series (e.g. "series 8, EchoTime 6.312").

    Raises
    ------
    DataError : every series is refused
    """
    count = 0
    for root in _study_roots(folder):
        for series in read_study(root).series:
            if series.verdict != "ok":
                logger.warning("%s: a series is left out: %s", root.name, series.reason)
            for stack in series.stacks:
                named = [f"series {series.datasets[0].get('SeriesNumber')}"]
                named += [f"{name} {value}" for name, value in stack.attributes.items()]
                count += 1
                yield NamedVolume(root.resolve().name, ", ".join(named), load_stack(stack))
    if not count:
        raise DataError(
            f"{folder} holds no MR volume.",
            rule="At least one series must be a volume.",
            remedy="`acuity inspect` says of each series why it is refused.",
        )


def _study_roots(folder: Path) -> list[Path]:
    """The folder itself if it holds one study (or the reader will refuse it), else its subfolders with images."""
    datasets = find_dicom(folder).datasets
    tops = {folder / Path(ds.filename).relative_to(folder).parts[0] for ds in datasets}
    several = len({str(ds.StudyInstanceUID) for ds in datasets}) > 1
    return sorted(tops) if several and all(top.is_dir() for top in tops) else [folder]
