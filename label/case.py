"""A case: four sequences in one folder, read by the path of the one that the annotator opened.

This is the contract between datastores and tasks. A datastore's ``get_image_uri`` gives the path of a NIfTI file, which
viewers can open too; the other three sequences lie in the same folder, each on the grid it was measured on. Nothing is
resampled here. Which file is which sequence says ``acuity.research.datasets.layouts``, for the label server as for
trainings.

A case from a PACS has ``case.json`` beside the images, with what NIfTI cannot hold, and the headers of each series.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from acuity.anatomy import Sequence
from acuity.assessment import missing_text
from acuity.dicom.reading.headers import values_of
from acuity.errors import DataError, InputNotFoundError, MissingSequenceError
from acuity.pipeline.preparation import REFERENCE, Prepared, prepare_volumes
from acuity.research.datasets.brats import FILE_SUFFIX, read_image, refuse_doubles, require_image
from acuity.research.datasets.brats import read_case as read_brats_case
from acuity.research.datasets.layouts import CaseFiles, folder_case, patient_of
from acuity.volume import RAS_LPS, Volume
from label.files import write_whole

_DESCRIPTION = "case.json"


@dataclass(frozen=True)
class Case:
    """Four sequences of one patient.

    Parameters
    ----------
    volumes : float32 in the file's or series' own intensities, each on its own grid (LPS mm). Those of a PACS have a
        frame of reference, if their series give one, and their headers as source images; others have neither.
    reference : the sequence that the annotator opened: masks are shown and stored on its grid
    patient : the same for all cases of a patient: a digest of the patient's identity in a PACS, else
        ``layouts.patient_of`` the local folder's name
    """

    volumes: dict[Sequence, Volume]
    reference: Sequence
    patient: str

    @property
    def opened(self) -> Volume:
        """The volume that the annotator opened."""
        return self.volumes[self.reference]


def read_case(path: str | Path) -> Case:
    """Read the case that an image belongs to.

    Parameters
    ----------
    path : of the image, as ``get_image_uri`` of a datastore gives it

    Raises
    ------
    InputNotFoundError : there is no such file
    MissingSequenceError : the folder lacks one of the four
    DataError : the file is none of the four, or one of them cannot be read, is a mask, not finite, or 0 everywhere
    """
    path = Path(path)
    reference = sequence_of(path)
    volumes = {sequence: read_volume(file) for sequence, file in complete_case(path.parent).items()}
    for sequence, volume in volumes.items():
        require_image(volume.array, sequence.value)
    return Case(volumes, reference, str(_describe(path.parent).get("patient", patient_of(path.parent.name))))


def read_volume(path: Path) -> Volume:
    """One image of a case; errors as ``read_case``."""
    try:
        volume = read_image(path)
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise DataError(
            f"An image of the case cannot be read as a NIfTI image of three axes ({type(error).__name__}).",
            rule="Each sequence is one whole NIfTI file with three axes.",
            remedy="Write it again.",
        ) from error
    description = _describe(path.parent)
    if not description:
        return volume
    series = description["sequences"][sequence_of(path).value]
    headers = tuple(dcmread(file) for file in sorted(_header_folder(path).iterdir()))
    return Volume(volume.array, np.array(series["affine"]), series["frame_of_reference"], headers)


def write_volume(volume: Volume, path: Path) -> None:
    """Write an image or a mask, in its own type, such that nibabel, ITK and 3D Slicer place it alike."""
    image = nib.Nifti1Image(np.asfortranarray(volume.array), RAS_LPS @ volume.affine)
    image.set_sform(image.affine, code="scanner")
    image.set_qform(image.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def write_case(folder: Path, volumes: Mapping[Sequence, Volume]) -> None:
    """Write a case from a PACS: images, headers, and what NIfTI cannot hold.

    Parameters
    ----------
    folder : exists and is empty
    volumes : all four, with source images
    """
    sequences: dict[str, Any] = {}
    for sequence, volume in volumes.items():
        path = folder / f"{FILE_SUFFIX[sequence]}.nii.gz"
        write_volume(volume, path)
        _header_folder(path).mkdir()
        for number, ds in enumerate(volume.source_images, start=1):
            header = dcmread(ds.filename, stop_before_pixels=True)
            header.save_as(_header_folder(path) / f"{number:05d}.dcm")
        sequences[sequence.value] = {
            "frame_of_reference": volume.frame_of_reference_uid,
            "affine": volume.affine.tolist(),
        }
    patient = _patient_digest(next(iter(volumes.values())).source_images[0])
    (folder / _DESCRIPTION).write_text(json.dumps({"patient": patient, "sequences": sequences}))


def case_files(folder: Path) -> dict[Sequence, Path]:
    """The images of the case whose own folder this is, see ``layouts.folder_case``; DataError where one is twice."""
    case = folder_case(folder)
    if case is None:
        return {}
    refuse_doubles(case)
    return dict(case.images)


def complete_case(folder: Path) -> dict[Sequence, Path]:
    """All four images of a case, see ``case_files``; MissingSequenceError where one is absent."""
    return require_complete(case_files(folder))


def require_complete(files: Mapping[Sequence, Path]) -> dict[Sequence, Path]:
    """The images in the order of ``Sequence``; MissingSequenceError where one is absent."""
    absent = [sequence for sequence in Sequence if sequence not in files]
    if absent:
        error = MissingSequenceError(
            missing_text(absent),
            rule="A case needs T1, T1c, T2 and FLAIR.",
            remedy="Add NAME_t1, NAME_t1ce, NAME_t2 or NAME_flair (.nii.gz) to the folder NAME.",
        )
        error.missing = tuple(sequence.value for sequence in absent)
        raise error
    return {sequence: files[sequence] for sequence in Sequence}


def split_case(case: CaseFiles, folder: Path) -> dict[Sequence, Path]:
    """A file each for the sequences of a case of the Decathlon's, whose one file holds all four.

    Parameters
    ----------
    folder : is made, or holds them since an earlier call; they are written again where the one file is another

    Raises
    ------
    DataError : the file cannot be read, or has an image that is a mask, not finite, or 0 everywhere
    """
    changed = case.images[REFERENCE].stat().st_mtime_ns
    targets = {sequence: folder / f"{folder.name}_{FILE_SUFFIX[sequence]}.nii.gz" for sequence in Sequence}
    if all(target.is_file() and target.stat().st_mtime_ns == changed for target in targets.values()):
        return targets

    def write(volume: Volume, path: Path) -> None:
        write_volume(volume, path)
        os.utime(path, ns=(changed, changed))

    for sequence, volume in read_brats_case(case.folder / case.name).items():
        write_whole(targets[sequence], partial(write, volume))
    return targets


def sequence_of(path: Path) -> Sequence:
    """The sequence of its case that an image is; errors as ``read_case``."""
    remedy = "Take the path from the datastore, by the image's id."
    if not path.is_file():
        raise InputNotFoundError("The image of the case does not exist.", remedy=remedy)
    for sequence, file in case_files(path.parent).items():
        if file == path:
            return sequence
    rule = "A case NAME holds NAME_t1, _t1ce, _t2 and _flair (.nii.gz), or names as BraTS has them since 2023."
    raise DataError(f"{path.name} is no image of a case.", rule=rule, remedy=remedy)


def prepare_case(case: Case) -> Prepared:
    """Align the series and find the brain; raises as ``acuity.pipeline.preparation.prepare_volumes``.

    Images without a frame of reference that lie on the reference's voxels were brought there: they are not moved again.
    """
    reference = case.volumes[REFERENCE]
    common = reference.frame_of_reference_uid or generate_uid()
    volumes = dict(case.volumes)
    for sequence, volume in case.volumes.items():
        if not volume.frame_of_reference_uid and volume.grid.same_as(reference.grid):
            volumes[sequence] = replace(volume, frame_of_reference_uid=common)
    return prepare_volumes(volumes, allow_partial=True)  # the annotator sees what is there, and is told


def _header_folder(image: Path) -> Path:
    return image.parent / f"{image.name.removesuffix('.gz').removesuffix('.nii')}_headers"


def _describe(folder: Path) -> dict[str, Any]:
    """What ``write_case`` noted; empty for a local folder."""
    file = folder / _DESCRIPTION
    description: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return description


def _patient_digest(ds: Dataset) -> str:
    """Without an id, the study stands for the patient."""
    identity = [str(value) for key in ("PatientID", "IssuerOfPatientID") for value in values_of(ds.get(key))]
    known = "\n".join(identity) if identity and identity[0].strip() else str(ds.StudyInstanceUID)
    return hashlib.sha256(f"acuity patient\n{known}".encode()).hexdigest()[:32]
