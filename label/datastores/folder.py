"""Cases on a disk: a folder for each, with four NIfTI files; labels in a folder for each tag."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from acuity.anatomy import Sequence
from acuity.dicom.writing.model_info import ModelInfo
from acuity.errors import DataError, InputNotFoundError, OutputError
from acuity.pipeline.preparation import REFERENCE
from acuity.research.datasets.brats import FILE_SUFFIX, read_image
from acuity.volume import Volume
from label.case import EXTENSIONS, case_files, complete_case, read_volume, write_volume
from label.datastores.base import CaseDatastore, annotator_of, checked_tag, segments_of
from label.datastores.notes import write_whole
from label.datastores.placement import placed_labels
from label.datastores.uploads import read_upload

_LABELS, _DERIVED, _STATE = "labels", "derived", ".acuity"
_NEW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_log = logging.getLogger(__name__)


class _Image(NamedTuple):
    """One image of a case."""

    case: str
    sequence: Sequence
    path: Path


class FolderDatastore(CaseDatastore):
    """Folders NAME with NAME_t1, _t1ce, _t2 and _flair (.nii.gz or .nii), as BraTS has them, or t1, t1ce, t2 and flair.

    NAME is the id of the case and of its T1c; NAME_t1, NAME_t1ce, NAME_t2, NAME_flair are those of its images. Labels
    are ``labels/TAG/NAME.nii.gz``, one for each case and tag, on the grid of the image that it was drawn on. What
    is computed goes to ``derived/NAME``. A truth that comes with a case (NAME_seg) is not taken for a label.

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

    def get_image_uri(self, image_id: str) -> str:
        """The path of an image.

        Raises
        ------
        InputNotFoundError : there is no such id
        MissingSequenceError, DataError : its case is not complete, or has two files for one sequence
        """
        return str(self._image(image_id).path)

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """For each tag that its case has a label of, the label's id, which is the image's."""
        return dict.fromkeys(self._tags(self._image(image_id).case), image_id)

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The path of the case's label on the grid of the image with this id; "" where there is none of this tag."""
        image, tag = self._image(label_id), checked_tag(label_tag)
        file = self._label_file(image.case, tag)
        if not file.is_file():
            return ""
        labels, volume = read_image(file, np.uint8), read_volume(image.path)
        if labels.grid.same_as(volume.grid):
            return str(file)
        placed = volume.with_array(placed_labels(labels, volume.grid).array)
        target = self._state / "placed" / tag / image.case / f"{FILE_SUFFIX[image.sequence]}.nii.gz"
        write_whole(target, lambda path: write_volume(placed, path))
        return str(target)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a label in place of the one of its case and tag.

        Parameters
        ----------
        label_filename : NIfTI or NRRD on the grid of the image; its values are named by label_info["label_info"], see
            ``label.datastores.uploads``
        label_info : is noted; "user" names the annotator

        Returns
        -------
        The label's id.

        Raises
        ------
        InputNotFoundError : there is no such image
        DataError : the tag, the file or a value is not valid, or the voxels are not the image's
        """
        image, tag = self._image(image_id), checked_tag(label_tag)
        annotator_of(label_info)
        volume = read_volume(Path(self.get_image_uri(image_id)))
        labels = read_upload(Path(label_filename), segments_of(label_info), volume.grid)
        target = self._label_file(image.case, tag)
        write_whole(target, lambda path: write_volume(volume.with_array(labels.array), path))
        self._notes.write(label_info, "label", image.case, tag)
        return image_id

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Delete the label of a case and what was noted of it."""
        case, tag = self._image(label_id).case, checked_tag(label_tag)
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
        extension = next((e for e in EXTENSIONS if source.name.endswith(e)), None)
        folder = self._root / case
        if extension is None or (folder.is_dir() and sequence in case_files(folder)):
            raise DataError(
                "The image is there already." if extension else "The file is no NIfTI file.",
                rule="An id has one image, which is a NIfTI file (.nii.gz or .nii).",
                remedy="Use another id." if extension else "Convert it.",
            )
        target = folder / f"{case}_{FILE_SUFFIX[sequence]}{extension}"

        def copy(path: Path) -> None:
            shutil.copyfile(source, path)
            read_image(path)

        try:
            write_whole(target, copy)
        except (EOFError, ValueError, OSError) as error:
            raise DataError(
                f"The image cannot be stored ({type(error).__name__}).",
                rule="It is one whole NIfTI file with three axes.",
                remedy="Write it again.",
            ) from error
        self._notes.update(image_info, "image", case)
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Delete a case: its four images and its labels. Other files in its folder stay."""
        case = self._image(image_id).case
        for tag in self._tags(case):
            self.remove_label(image_id, tag)
        for file in case_files(self._root / case).values():
            file.unlink()
        self._notes.remove("image", case)
        if not any((self._root / case).iterdir()):
            (self._root / case).rmdir()

    def save_derived(self, image_id: str, volumes: Mapping[Sequence, Volume], model: ModelInfo) -> list[str]:
        """Store computed images as NIfTI in ``derived/NAME``, in place of earlier ones."""
        case = self._image(image_id).case
        paths = []
        for sequence, volume in volumes.items():
            target = self._root / _DERIVED / case / f"{case}_{FILE_SUFFIX[sequence]}.nii.gz"
            write_whole(target, partial(write_volume, volume))
            paths.append(str(target))
        self._notes.update({"derived_by": f"{model.name} {model.version}"}, "image", case)
        return paths

    def _tags_by_case(self) -> dict[str, list[str]]:
        return {name: self._tags(name) for name in self._folders() if self._is_complete(name)}

    def _is_complete(self, name: str) -> bool:
        try:
            return len(case_files(self._root / name)) == len(Sequence)
        except DataError as error:
            _log.warning("a case is left out: %s", error)
            return False

    def _canonical(self, image_id: str) -> str:
        return self._image(image_id).case

    def _drawn_on(self, image_id: str, tag: str) -> str:
        case = self._image(image_id).case
        grid = read_image(self._label_file(case, tag), np.uint8).grid
        for sequence in (REFERENCE, *Sequence):
            if read_volume(self._image_of(case, sequence).path).grid.same_as(grid):
                return f"{case}_{FILE_SUFFIX[sequence]}" if sequence is not REFERENCE else case
        return case

    def _label_facts(self, image_id: str, tag: str) -> dict[str, Any]:
        return {}

    def _folders(self) -> list[str]:
        reserved = (_LABELS, _DERIVED)
        return sorted(
            entry.name
            for entry in self._root.iterdir()
            if entry.is_dir() and not entry.name.startswith(".") and entry.name not in reserved
        )

    def _tags(self, case: str) -> list[str]:
        return sorted(
            file.parent.name for file in (self._root / _LABELS).glob("*/*.nii.gz") if file.name == f"{case}.nii.gz"
        )

    def _label_file(self, case: str, tag: str) -> Path:
        return self._root / _LABELS / tag / f"{case}.nii.gz"

    def _image(self, image_id: str) -> _Image:
        """Look an id up among the folders that there are."""
        names = self._folders()
        if image_id in names:
            return self._image_of(image_id, REFERENCE)
        for sequence, suffix in FILE_SUFFIX.items():
            name = image_id.removesuffix(f"_{suffix}")
            if name != image_id and name in names:
                return self._image_of(name, sequence)
        raise InputNotFoundError(
            "There is no image of this id.",
            rule="Ids are those of list_images, and with _t1, _t1ce, _t2 or _flair those of its images.",
            remedy="List the images.",
        )

    def _image_of(self, case: str, sequence: Sequence) -> _Image:
        return _Image(case, sequence, complete_case(self._root / case)[sequence])


def _new_image(image_id: str) -> tuple[str, Sequence]:
    for sequence, suffix in FILE_SUFFIX.items():
        name = str(image_id).removesuffix(f"_{suffix}")
        if name != image_id and _NEW_NAME.fullmatch(name) and name not in (_LABELS, _DERIVED):
            return name, sequence
    raise DataError(
        f"{str(image_id)[:40]!r} is no id for a new image.",
        rule="It is NAME_t1, NAME_t1ce, NAME_t2 or NAME_flair; NAME has up to 100 letters, digits, . - _.",
        remedy="Add the four sequences of a case one by one under such ids.",
    )
