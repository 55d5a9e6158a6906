"""What a folder of cases holds, and what in it would stop a training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.models.segmentation import WORKING_SPACING
from acuity.pipeline.nifti_files import is_dicom
from acuity.research.datasets import brats
from acuity.research.datasets.layouts import CaseFiles, find_cases, patient_of
from acuity.volume import Grid, Volume

SPACING_TOLERANCE = 0.01  # relative; below it a brain is wrong by less than two voxels from end to end


@dataclass
class CaseReport:
    """What was found of a case.

    Parameters
    ----------
    case, patient, grade : see ``acuity.research.datasets.layouts``
    shape : voxels to the left, to the back and to the head; None where the images cannot be read
    spacing : of these voxels in mm
    labels : number of voxels by label, in BraTS's coding; None without a truth that can be read
    faults : why a training would refuse it
    notes : what a training would do with it, or go without
    """

    case: str
    patient: str
    grade: str | None
    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    labels: dict[str, int] | None = None
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FolderReport:
    """What was found in a folder.

    Parameters
    ----------
    cases : by name
    faults : of the folder as a whole
    """

    cases: tuple[CaseReport, ...]
    faults: tuple[str, ...]

    @property
    def may_train(self) -> bool:
        """Whether a training takes all cases as they are."""
        return not self.faults and not any(case.faults for case in self.cases)

    def as_json(self) -> dict[str, Any]:
        """All of it, for ``json.dumps``."""
        return {"may_train": self.may_train, **asdict(self)}


def has_working_spacing(grid: Grid) -> bool:
    """Whether voxels have the size that segmentation networks are trained at."""
    return bool(np.allclose(grid.spacing, WORKING_SPACING, rtol=SPACING_TOLERANCE))


def check_folder(folder: Path) -> FolderReport:
    """Read every case in a folder as a training would.

    Raises
    ------
    DataError : as ``layouts.find_cases``
    """
    found = find_cases(folder)
    names = Counter(case.name for case in found)
    contents: dict[str, str] = {}  # the first case of each
    reports = []
    for files in tqdm(found, desc="reading cases", mininterval=10):
        report = CaseReport(files.name, patient_of(files.name), files.grade)
        if names[files.name] > 1:
            report.faults.append(f"There are {names[files.name]} cases of this name; this one is in {files.folder}.")
        else:
            digest = _check(folder / files.name, files, report)
            first = contents.setdefault(digest, files.name) if digest else files.name
            if first != files.name:
                report.faults.append(f"Its images are those of {first}.")
        reports.append(report)
    return FolderReport(tuple(reports), tuple(_faults_of(folder, reports)))


def _check(folder: Path, files: CaseFiles, report: CaseReport) -> str | None:
    """Fill in the report of a case; what tells its images from others."""
    try:
        images = brats.read_case(folder)
    except DataError as error:
        report.faults.append(error.found)
        return None
    first = images[Sequence.T1]
    report.shape, report.spacing = first.shape, tuple(float(mm) for mm in first.spacing.round(4))
    if not has_working_spacing(first.grid):
        report.notes.append(f"Segmentation resamples it to {WORKING_SPACING:g} mm.")
    if files.labels is None:
        report.notes.append("It has no truth: segmentation leaves it out.")
    else:
        _check_labels(folder, report)
    return _digest(images[sequence] for sequence in Sequence)


def _check_labels(folder: Path, report: CaseReport) -> None:
    try:
        labels = brats.read_labels(folder)
    except DataError as error:
        report.faults.append(error.found)
        return
    values, counts = np.unique(labels.array, return_counts=True)
    report.labels = {str(value): int(count) for value, count in zip(values, counts, strict=True)}


def _digest(volumes: Iterable[Volume]) -> str:
    """Of the voxels: files of the same image may differ in compression."""
    digest = hashlib.sha256()
    for volume in volumes:
        digest.update(np.ascontiguousarray(volume.array).data)
    return digest.hexdigest()


def _faults_of(folder: Path, reports: list[CaseReport]) -> list[str]:
    if not reports:
        found = f"{folder} holds no case as BraTS gives them out, or the Medical Decathlon's Task01."
        dicom = any(is_dicom(path) for path in folder.rglob("*"))
        return [found + " It holds DICOM, which `acuity inspect` and `acuity run` take." * dicom]
    if len({report.patient for report in reports}) < 2:
        return ["All cases are of one patient: none can be held out for validation."]
    return []
