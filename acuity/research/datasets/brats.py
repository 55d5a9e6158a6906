"""BraTS cases: reading them, finding the brain, and the project's own split."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from acuity.anatomy import Sequence
from acuity.errors import DataError
from acuity.volume import RAS_LPS, Volume

FILE_SUFFIX = {Sequence.T1: "t1", Sequence.T1C: "t1ce", Sequence.T2: "t2", Sequence.FLAIR: "flair"}

FOLDS = 4

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
            f"The folder of BraTS cases is {folder}.",
            rule="It must exist and hold a folder for each case.",
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
    """The cases for training and validation in FOLDS parts with like shares of marked cases.

    Each part is held out from one network, so that every case is seen by a network that was not trained on it. That
    tells more than the few validation cases.
    """
    marked = [set(split["low_grade"]), set(split["coarse"])]
    names = sorted([*split["train"], *split["validation"]], key=lambda name: [*(name in m for m in marked), name])
    return [names[n::FOLDS] for n in range(FOLDS)]


def without_fold(split: Split, number: int) -> tuple[list[str], list[str]]:
    """The cases of all other folds, to train on, and those of fold ``number``, to validate on."""
    parts = folds(split)
    held_out = parts.pop(number)
    return sorted(name for part in parts for name in part), held_out


def fine_cases(names: Seq[str]) -> list[str]:
    """The cases of ``names`` with fine gray levels; coarse ones are no truth for super-resolution."""
    coarse = set(read_split()["coarse"])
    return [name for name in names if name not in coarse]


def read_image(path: Path, dtype: type = np.float32) -> Volume:
    """Read a NIfTI file as a volume; its RAS affine becomes LPS, the array stays the same."""
    _require_files(path)
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image) and image.affine is not None
    return Volume(np.asarray(image.dataobj).astype(dtype), RAS_LPS @ image.affine)


def image_files(folder: Path) -> dict[Sequence, Path]:
    """The files of a case's four images.

    Raises
    ------
    DataError : a file is absent
    """
    files = {s: folder / f"{folder.name}_{suffix}.nii.gz" for s, suffix in FILE_SUFFIX.items()}
    _require_files(*files.values())
    return files


def labels_file(folder: Path) -> Path:
    """The file of a case's truth.

    Raises
    ------
    DataError : it is absent
    """
    file = folder / f"{folder.name}_seg.nii.gz"
    _require_files(file)
    return file


def read_case(folder: Path) -> dict[Sequence, Volume]:
    """Read the four images of a case: float32 in the files' own intensities."""
    return {sequence: read_image(file) for sequence, file in image_files(folder).items()}


def read_labels(folder: Path) -> Volume:
    """Read the truth of a case: uint8 with 0, 1, 2, 4."""
    return read_image(labels_file(folder), np.uint8)


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


def _require_files(*paths: Path) -> None:
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"{path.name} is missing.",
                rule="A BraTS case NAME holds NAME_t1, _t1ce, _t2, _flair and _seg, each .nii.gz.",
                remedy="Complete the case or leave it out.",
            )
