"""Cases on a disk, in any layout of ``acuity.research.datasets.layouts``; labels in a folder for each tag."""

from __future__ import annotations

import logging
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from acuity.anatomy import Sequence
from acuity.dicom.writing.model_info import ModelInfo
from acuity.errors import DataError, InputNotFoundError, OutputError
from acuity.pipeline.preparation import REFERENCE
from acuity.research.datasets.brats import FILE_SUFFIX, read_image, refuse_doubles
from acuity.research.datasets.layouts import CaseFiles, find_case, find_cases, is_decathlon
from acuity.volume import Volume
from label.case import case_files, read_volume, require_complete, split_case, write_volume
from label.datastores.store import CaseDatastore, checked_tag
from label.files import write_whole
from label.request import SaveRequest
from label.spaces import placed_labels
from label.uploads import check_finite

_LABELS, _DERIVED, _STATE = "labels", "derived", ".acuity"
_APART = (_LABELS, _DERIVED)  # subfolders that hold no cases
_EXTENSIONS = (".nii.gz", ".nii")
_NEW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_log = logging.getLogger(__name__)


class _FolderImage(NamedTuple):
    """One image of a case, with the files of all."""

    case: str
    sequence: Sequence
    files: CaseFiles


class FolderDatastore(CaseDatastore[_FolderImage]):
    """Cases in a folder, laid out as ``acuity.research.datasets.layouts`` describes: BraTS's ways and the Decathlon's.

    A case's NAME is the id of the case and of its T1c. NAME_t1, NAME_t1ce, NAME_t2, NAME_flair are those of its images,
    however its files are named. Labels are ``labels/TAG/NAME.nii.gz``, one for each case and tag, on the grid of the
    image that it was drawn on. Computed images go to ``derived/NAME``. A truth that comes with a case (NAME_seg) is not
    taken for a label. The Decathlon has one file a case: each of its images becomes a file in ``.acuity/images/NAME``
    when it is first asked for.

    Parameters
    ----------
    root : the folder of cases

    Raises
    ------
    InputNotFoundError : there is no such folder
    OutputError : it cannot be written to
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        if not self._root.is_dir():
            raise InputNotFoundError("The folder of studies does not exist.", remedy="Name one that does, or make it.")
        try:
            super().__init__(self._root.name, self._root / _STATE)
        except OSError as error:
            raise OutputError(
                f"The folder of studies cannot be written to: {error.strerror}.",
                rule="Labels are stored in it.",
                remedy="Change its permissions.",
            ) from error

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Delete the label of a case and its note."""
        case, tag = self._find(label_id).case, checked_tag(label_tag)
        self._label_file(case, tag).unlink(missing_ok=True)
        self._notes.remove("label", case, tag)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add one sequence of a case; the case is listed when all four are there.

        Parameters
        ----------
        image_id : NAME_t1, NAME_t1ce, NAME_t2 or NAME_flair
        image_filename : NIfTI with three axes

        Returns
        -------
        The id.

        Raises
        ------
        DataError : the id is not valid or is taken, or the file is no image
        """
        source = Path(image_filename)
        case, sequence = _new_image(image_id)
        if is_decathlon(self._root):
            raise DataError(
                "The folder of studies is the Medical Decathlon's, which has one file a case.",
                rule="Images are added one by one to a folder of cases as BraTS has them.",
                remedy="Serve another folder.",
            )
        folder = self._root / case
        if folder.is_dir() and sequence in case_files(folder):
            raise DataError("The image is there already.", rule="An id has one image.", remedy="Use another id.")

        extension = next((one for one in _EXTENSIONS if source.name.endswith(one)), None)
        if extension is None:
            raise DataError(
                "The image has another extension.",
                rule=f"It is a NIfTI file ({', '.join(_EXTENSIONS)}).",
                remedy="Convert it.",
            )
        check_finite(source)
        write_whole(folder / f"{case}_{FILE_SUFFIX[sequence]}{extension}", partial(shutil.copyfile, source))
        self._notes.update(image_info, "image", case)
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Delete a case: its four images and its labels. Other files in its folder stay."""
        image = self._find(image_id)
        for tag in self._tags(image):
            self.remove_label(image_id, tag)
        for file in set(image.files.images.values()):
            file.unlink()
        shutil.rmtree(self._split_folder(image.case), ignore_errors=True)
        self._notes.remove("image", image.case)
        if image.files.folder.name == image.case and not any(image.files.folder.iterdir()):
            image.files.folder.rmdir()

    def save_derived(self, image_id: str, volumes: Mapping[Sequence, Volume], model: ModelInfo) -> list[str]:
        """Store computed images as NIfTI in ``derived/NAME``, in place of earlier ones."""
        case = self._find(image_id).case
        paths = []
        for sequence, volume in volumes.items():
            target = self._root / _DERIVED / case / f"{case}_{FILE_SUFFIX[sequence]}.nii.gz"
            write_whole(target, partial(write_volume, volume))
            paths.append(str(target))
        self._notes.update({"derived_by": f"{model.name} {model.version}"}, "image", case)
        return paths

    def _tags_by_case(self) -> dict[str, list[str]]:
        cases = find_cases(self._root, _APART)
        count = Counter(case.name for case in cases)
        return {case.name: self._tags_of(case.name) for case in cases if _is_sound(case, count[case.name])}

    def _find(self, image_id: str) -> _FolderImage:
        """Look an id up among the cases that there are."""
        suffixes = {sequence: f"_{suffix}" for sequence, suffix in FILE_SUFFIX.items()}
        names = [(image_id.removesuffix(end), sequence) for sequence, end in suffixes.items() if image_id.endswith(end)]
        for name, sequence in [(image_id, REFERENCE), *names]:
            if (case := self._case(name)) is not None:
                refuse_doubles(case)
                require_complete(case.images)
                return _FolderImage(name, sequence, case)
        raise InputNotFoundError(
            "There is no image of this id.",
            rule="Ids are those of list_images, and with _t1, _t1ce, _t2 or _flair those of its images.",
            remedy="List the images.",
        )

    def _case(self, name: str) -> CaseFiles | None:
        """The case of a name that a request gave: a name of one folder or file, never a path."""
        if name != Path(name).name or name.startswith(".") or "\0" in name or name in _APART:
            return None
        try:
            return find_case(self._root / name, _APART)
        except OSError:  # a name that is too long for any file
            return None

    def _path(self, image: _FolderImage) -> Path:
        if image.files.channels is None:
            return image.files.images[image.sequence]
        return split_case(image.files, self._split_folder(image.case))[image.sequence]

    def _split_folder(self, case: str) -> Path:
        return self._state / "images" / case

    def _tags(self, image: _FolderImage) -> list[str]:
        return self._tags_of(image.case)

    def _label_path(self, image: _FolderImage, tag: str) -> Path | None:
        file = self._label_file(image.case, tag)
        if not file.is_file():
            return None
        labels, volume = read_image(file, np.uint8), read_volume(self._path(image))
        if labels.grid.same_as(volume.grid):
            return file
        placed = volume.with_array(placed_labels(labels, volume.grid).array)
        target = self._state / "placed" / tag / image.case / f"{FILE_SUFFIX[image.sequence]}.nii.gz"
        write_whole(target, partial(write_volume, placed))
        return target

    def _drawn_on(self, image: _FolderImage, tag: str) -> _FolderImage:
        grid = read_image(self._label_file(image.case, tag), np.uint8).grid
        images = [image._replace(sequence=sequence) for sequence in (REFERENCE, *Sequence)]
        return next((one for one in images if read_volume(self._path(one)).grid.same_as(grid)), images[0])

    def _store_label(self, image: _FolderImage, labels: Volume, tag: str, request: SaveRequest) -> None:
        write_whole(self._label_file(image.case, tag), partial(write_volume, labels))

    def _tags_of(self, case: str) -> list[str]:
        files = (self._root / _LABELS).glob("*/*.nii.gz")
        return sorted(file.parent.name for file in files if file.name == f"{case}.nii.gz")

    def _label_file(self, case: str, tag: str) -> Path:
        return self._root / _LABELS / tag / f"{case}.nii.gz"


def _is_sound(case: CaseFiles, count: int) -> bool:
    """Whether a case is listed: it is complete, and the only one of its name."""
    if case.doubles or count > 1:
        _log.warning("a case is left out: %s", "an image is there twice" if case.doubles else "another has its name")
        return False
    return len(case.images) == len(Sequence)


def _new_image(image_id: str) -> tuple[str, Sequence]:
    for sequence, suffix in FILE_SUFFIX.items():
        name = str(image_id).removesuffix(f"_{suffix}")
        if name != image_id and _NEW_NAME.fullmatch(name) and name not in _APART:
            return name, sequence
    raise DataError(
        f"{str(image_id)[:40]!r} is no id for a new image.",
        rule="It is NAME_t1, NAME_t1ce, NAME_t2 or NAME_flair; NAME has up to 100 letters, digits, . - _.",
        remedy="Add the four sequences of a case one by one under such ids.",
    )
