"""MONAI's data lists of folders of cases: dictionaries of paths, as the configs of bundles take them."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from pathlib import Path

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.research.datasets import brats
from acuity.research.datasets.folders import nifti_files
from acuity.research.datasets.layouts import CaseFiles, named_cases

Datalist = list[dict[str, object]]


def case_datalist(folder: str | Path, names: Seq[str] | None = None) -> Datalist:
    """The four images of each case in a folder, laid out as ``layouts`` says.

    Parameters
    ----------
    names : of the cases; None lists all

    Returns
    -------
    By case, "image": the files of T1, T1c, T2 and FLAIR, or the one file of the Decathlon; "channels": which channels
    of the loaded image they are; "case": its name; "label": the file of the truth, where there is one

    Raises
    ------
    DataError : there is no case, or one of them lacks an image or has two for one sequence
    """
    cases = named_cases(Path(folder))
    if not cases:
        raise DataError(
            f"{folder} holds no case.",
            rule="Cases are laid out as BraTS gives them out, or the Medical Decathlon's Task01.",
            remedy="Name their folder with --dataset_dir; `acuity dataset check FOLDER` says what is there.",
        )
    return [_entry(cases[name]) for name in (cases if names is None else names)]


def image_datalist(folder: str | Path) -> Datalist:
    """Each NIfTI image in a folder and its subfolders as {"image": path}, without the truths of cases.

    Raises
    ------
    DataError : there is no image
    """
    folder = Path(folder)
    cases = named_cases(folder).values()
    truths = {path for case in cases for path in (case.labels, *case.doubles)}
    files = [file for file in nifti_files(folder) if file not in truths]
    if not files:
        raise DataError(
            f"{folder} holds no NIfTI image.",
            rule="Images end in .nii or .nii.gz.",
            remedy="Name their folder with --dataset_dir.",
        )
    return [{"image": str(file)} for file in files]


def _entry(case: CaseFiles) -> dict[str, object]:
    images = brats.image_files(case.folder if case.channels is None else case.folder / case.name)
    files = [str(images[sequence]) for sequence in Sequence]
    channels = [case.channels[s] for s in Sequence] if case.channels else list(range(len(Sequence)))
    entry: dict[str, object] = {"case": case.name, "image": files[0] if case.channels else files, "channels": channels}
    return entry if case.labels is None else {**entry, "label": str(case.labels)}
