"""BraTS cases: reading them, finding the brain, and the project's own split."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Seq
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.research.datasets.layouts import CaseFiles, find_case, patient_of
from acuity.research.options import FOLDS
from acuity.volume import RAS_LPS, Grid, Volume

logger = logging.getLogger(__name__)

FILE_SUFFIX = {Sequence.T1: "t1", Sequence.T1C: "t1ce", Sequence.T2: "t2", Sequence.FLAIR: "flair"}

LARGEST_LABEL, MOST_LABELS = 10, 6  # of a mask, 0 counted

Split = Mapping[str, Seq[str]]  # names of cases by part and by mark


def data_folder(folder: str | Path | None = None) -> Path:
    """The folder of BraTS cases: ``folder``, else brats/ in the folder that ``ACUITY_DATA`` names.

    Raises
    ------
    DataError : neither is given, or the folder does not exist
    """
    if folder is None and "ACUITY_DATA" in os.environ:
        folder = Path(os.environ["ACUITY_DATA"]) / "brats"
    if folder is None or not Path(folder).is_dir():
        raise DataError(
            "No folder of data is named." if folder is None else f"The folder of data, {folder}, does not exist.",
            rule="Cases are read from a folder.",
            remedy="Name it, or set ACUITY_DATA to the folder that holds brats/.",
        )
    return Path(folder)


def read_split() -> dict[str, list[str]]:
    """The project's own split: names of cases by part and by mark.

    The parts are "train" (39 cases), "validation" (4) and "test" (6). "low_grade" marks cases with hardly any enhancing
    part. "coarse" marks cases with 64 gray levels or blurred channels, which train the segmentation only.
    """
    split = json.loads(resources.files("acuity.research.datasets").joinpath("brats_split.json").read_text())
    split.pop("comment")
    return split


def folds(split: Split) -> list[list[str]]:
    """The cases for training and validation in FOLDS parts by patient, with like shares of marked cases.

    Each part is held out from one network, so that every case is seen by a network that was not trained on it. That
    tells more than the few validation cases.
    """
    marked = [set(split["low_grade"]), set(split["coarse"])]
    patients: dict[str, list[str]] = {}
    for name in sorted([*split["train"], *split["validation"]]):
        patients.setdefault(patient_of(name), []).append(name)
    order = sorted(patients.values(), key=lambda names: [*(not m.isdisjoint(names) for m in marked), names])
    return [[name for names in order[n::FOLDS] for name in names] for n in range(FOLDS)]


def without_fold(split: Split, number: int) -> tuple[list[str], list[str]]:
    """The cases of all other folds, to train on, and those of fold ``number``, to validate on."""
    parts = folds(split)
    held_out = parts.pop(number)
    return sorted(name for part in parts for name in part), held_out


def fine_cases(names: Seq[str], split: Split | None = None) -> list[str]:
    """The cases of ``names`` with fine gray levels; coarse ones are no truth for super-resolution.

    Parameters
    ----------
    split : marks them; None takes ``read_split``
    """
    coarse = set((read_split() if split is None else split)["coarse"])
    return [name for name in names if name not in coarse]


def refuse_doubles(case: CaseFiles) -> None:
    """Raise DataError, which names them, where a case has two files for one image or for the truth."""
    if case.doubles:
        raise DataError(
            f"{case.name} has a second file for the same image: {', '.join(path.name for path in case.doubles)}.",
            rule="A case has one file for each sequence, and one for the truth.",
            remedy="Keep one of them.",
        )


def read_image(path: Path, dtype: type = np.float32) -> Volume:
    """Read a NIfTI file of three axes as a volume; its RAS affine becomes LPS, the array stays the same.

    Raises
    ------
    DataError : the file is absent
    ImageFileError, OSError, EOFError, ValueError : it is damaged, or has other axes
    """
    if not path.is_file():
        raise DataError(
            f"{path.name} is missing.", rule="An image is one NIfTI file.", remedy="Complete the case or leave it out."
        )
    image = _load(path)
    return Volume(np.asarray(image.dataobj).astype(dtype), RAS_LPS @ image.affine)


def image_files(folder: Path) -> dict[Sequence, Path]:
    """The files of a case's four images.

    Parameters
    ----------
    folder : FOLDER/NAME, where FOLDER is as ``layouts.find_cases`` takes it

    Raises
    ------
    DataError : an image is absent, or there are two for one sequence
    """
    return dict(_complete(folder).images)


def is_labeled(folder: Path) -> bool:
    """Whether ``folder`` (see ``image_files``) is a case with a truth."""
    case = find_case(folder)
    return case is not None and case.labels is not None


def labels_file(folder: Path) -> Path:
    """The file of a case's truth.

    Parameters
    ----------
    folder : see ``image_files``

    Raises
    ------
    DataError : it is absent, or there are two
    """
    return _truth(_complete(folder))


def read_case(folder: Path) -> dict[Sequence, Volume]:
    """Read the four images of a case: float32 in the files' own intensities, on one grid.

    Axes are exchanged and mirrored to BraTS's order (to the left, to the back, to the head); nothing is interpolated.

    Parameters
    ----------
    folder : see ``image_files``

    Raises
    ------
    DataError : an image is absent, damaged, a mask, not finite, 0 everywhere, or on another grid than the others
    """
    case = _complete(folder)
    images = {sequence: _canonical(volume) for sequence, volume in _read_images(case).items()}
    for sequence, volume in images.items():
        require_image(volume.array, f"{sequence.value} of {case.name}")
        _require_grid(volume, images[Sequence.T1], f"{sequence.value} of {case.name}", "T1")
    return images


def read_labels(folder: Path) -> Volume:
    """Read the truth of a case: uint8 with 0, 1, 2, 4 (see ``acuity.anatomy.Label``).

    Other codings (3 for enhancing tumor, as BraTS has it since 2023, and the Decathlon's order) are translated, which
    the log says once for each folder. The axes are as ``read_case`` gives them.

    Parameters
    ----------
    folder : see ``image_files``

    Raises
    ------
    DataError : it is absent or damaged, has a value of no coding, or lies on another grid than the images
    """
    case = _complete(folder)
    found = _read_nifti(_truth(case), np.float32)
    first = _read_grid(case.images[Sequence.T1])
    if not found.grid.same_as(first):
        raise _unlike(f"The truth of {case.name}", "T1")
    return _canonical(found.with_array(_translated(found.array, case)))


def brain_mask(images: Mapping[Sequence, Volume]) -> NDArray[np.bool_]:
    """The voxels (I, J, K) where any of the stripped images, which lie on one grid, has signal."""
    return np.any([volume.array > 0 for volume in images.values()], axis=0)


def brain_box(arrays: list[NDArray], margin: int = 2) -> tuple[slice, slice, slice]:
    """The smallest box round all voxels of ``arrays`` above 0, with a margin in voxels.

    Its edges are even, so that pooling by 2 always joins the same pairs of voxels.
    """
    mask = np.any([a > 0 for a in arrays], axis=0)
    box = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        start = max(0, (int(hits[0]) - margin) // 2 * 2)
        stop = min(mask.shape[axis] // 2 * 2, (int(hits[-1]) + margin + 2) // 2 * 2)
        box.append(slice(start, stop))
    return box[0], box[1], box[2]


def require_image(array: NDArray, name: str) -> None:
    """Raise DataError, which names it, for an image that is a mask, not finite, or 0 everywhere."""
    if not np.isfinite(array).all():
        found = f"{name} has values that are not finite."
    elif not array.any():
        found = f"{name} is 0 everywhere."
    elif is_mask(array):
        found = f"{name} is a mask: it has the values {', '.join(f'{value:g}' for value in np.unique(array))} alone."
    else:
        return
    raise DataError(found, rule="An image has finite gray values.", remedy="Write it again, or leave it out.")


def is_mask(array: NDArray) -> bool:
    """Whether an image has no gray values, only 0 and few whole numbers up to LARGEST_LABEL."""
    if array.min() != 0 or not 0 < array.max() <= LARGEST_LABEL:
        return False
    values = np.unique(array)
    return len(values) <= MOST_LABELS and bool((values == values.astype(np.int64)).all())


def _complete(folder: Path) -> CaseFiles:
    case = find_case(folder)
    absent = [sequence.value for sequence in Sequence if case is None or sequence not in case.images]
    if case is None or absent:
        raise DataError(
            f"{folder.name} has no {', '.join(absent)}." if case else f"{folder.parent} holds no case {folder.name}.",
            rule="NAME holds NAME_t1, _t1ce, _t2 and _flair, or NAME-t1n, -t1c, -t2w and -t2f (.nii or .nii.gz).",
            remedy="Complete the case or leave it out.",
        )
    refuse_doubles(case)
    return case


def _truth(case: CaseFiles) -> Path:
    if case.labels is None:
        raise DataError(
            f"{case.name} has no truth.",
            rule="The truth of a case NAME is NAME_seg or NAME-seg (.nii or .nii.gz).",
            remedy="Complete the case or leave it out.",
        )
    return case.labels


def _read_images(case: CaseFiles) -> dict[Sequence, Volume]:
    if case.channels is None:
        return {sequence: _read_nifti(case.images[sequence], np.float32) for sequence in Sequence}
    file = case.images[Sequence.T1]
    with _readable(file):
        image = _load(file)
        array = np.asarray(image.dataobj, dtype=np.float32)
        return {s: Volume(array[..., case.channels[s]], RAS_LPS @ image.affine) for s in Sequence}


def _read_nifti(path: Path, dtype: type) -> Volume:
    with _readable(path):
        return read_image(path, dtype)


def _read_grid(path: Path) -> Grid:
    """That of an image's first three axes, from its header alone."""
    with _readable(path):
        image = _load(path)
        return Grid(image.shape[:3], RAS_LPS @ image.affine)


def _load(path: Path) -> nib.Nifti1Image:
    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image) or image.affine is None:
        raise ImageFileError("it is no NIfTI file")
    return image


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what nibabel raises for a damaged file into a DataError that names it."""
    try:
        yield
    except (ImageFileError, OSError, EOFError, ValueError, IndexError) as error:
        raise DataError(
            f"{path.name} cannot be read ({error}).",
            rule="An image is one whole NIfTI file of three axes, or of four in the Decathlon's Task01.",
            remedy="Copy or write it again, or leave the case out.",
        ) from error


def _canonical(volume: Volume) -> Volume:
    """The same voxels with BraTS's order of axes."""
    grid = volume.grid
    return volume.on_grid(np.ascontiguousarray(grid.to_canonical(volume.array)), grid.canonical())


def _require_grid(volume: Volume, other: Volume, name: str, other_name: str) -> None:
    if not volume.grid.same_as(other.grid):
        raise _unlike(name, other_name)


def _unlike(name: str, other_name: str) -> DataError:
    return DataError(
        f"{name} lies on another grid than {other_name}.",
        rule="The images of a case and its truth have one shape and one affine.",
        remedy="Register and resample them, or leave the case out.",
    )


def _translated(array: NDArray[np.float32], case: CaseFiles) -> NDArray[np.uint8]:
    """Labels 0, 1, 2, 4 of what a file of truth has."""
    values = {float(value) for value in np.unique(array)}
    coding = next((coding for coding in case.codings if values <= set(coding)), None)
    if coding is None:
        allowed = " or ".join("{" + ", ".join(map(str, coding)) + "}" for coding in case.codings)
        raise DataError(
            f"The truth of {case.name} has the labels {', '.join(f'{value:g}' for value in sorted(values))}.",
            rule=f"In this layout they are of {allowed}. 4 beside 3 is the resection cavity of BraTS 2024.",
            remedy="Write what enhances, is necrotic and is edema so, all else as 0, or leave the case out.",
        )
    changed = {value: label for value, label in coding.items() if value != label}
    if changed and case.labels is not None:
        said = "; ".join(f"{value} as {label.value} ({label.name.lower()})" for value, label in changed.items())
        _say_once(f"{case.labels.parents[1]}: labels are read {said}")
    translated = np.zeros(array.shape, np.uint8)
    for value, label in coding.items():
        translated[array == value] = label
    return translated


@lru_cache(maxsize=64)
def _say_once(text: str) -> None:
    logger.warning(text)
