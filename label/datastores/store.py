"""The part that both datastores share: MONAI Label's interface, on a few questions that each answers in its own way."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from acuity.anatomy import Sequence
from acuity.dicom.writing.model_info import ModelInfo
from acuity.errors import AcuityError, ArchiveError, DataError
from acuity.volume import Volume
from label.case import complete_case, read_volume
from label.files import Notes, write_whole
from label.masks import read_upload
from label.request import SaveRequest, checked

ORIGINAL, FINAL = DefaultLabelTag.ORIGINAL.value, DefaultLabelTag.FINAL.value

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")

_log = logging.getLogger(__name__)


class Image(Protocol):
    """One image of a case, as a datastore finds it by its id."""

    @property
    def case(self) -> str:
        """The id that ``list_images`` gives the case."""


Found = TypeVar("Found", bound=Image)


class CaseDatastore(Datastore, Generic[Found]):
    """A datastore whose images are cases of four sequences.

    Ids come from requests: each is looked up in what is there, and never becomes a path. No list is kept between two
    calls, so that a change on the disk or in the archive is seen at once.

    Parameters
    ----------
    name : of the datastore until it is renamed
    state : folder for notes, readable by this user only; made if absent
    """

    def __init__(self, name: str, state: Path) -> None:
        self._state = state
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._notes = Notes(state / "notes")
        self._defaults = {"name": name, "description": "Cases of T1, T1c, T2 and FLAIR"}

    @abstractmethod
    def _tags_by_case(self) -> dict[str, list[str]]:
        """The id of each complete case, in a steady order, and the sorted tags of its labels."""

    @abstractmethod
    def _find(self, image_id: str) -> Found:
        """The image of an id; InputNotFoundError where there is none."""

    @abstractmethod
    def _path(self, image: Found) -> Path:
        """The file of an image."""

    @abstractmethod
    def _tags(self, image: Found) -> Iterable[str]:
        """The tags of the case's labels."""

    @abstractmethod
    def _label_path(self, image: Found, tag: str) -> Path | None:
        """The case's label on the grid of the image; None where there is none of this tag."""

    @abstractmethod
    def _drawn_on(self, image: Found, tag: str) -> Found:
        """The image of the same case that its label was drawn on."""

    def _label_facts(self, image: Found, tag: str) -> dict[str, Any]:
        """Statements of the label itself, beside its note."""
        return {}

    @abstractmethod
    def _store_label(self, image: Found, labels: Volume, tag: str, request: SaveRequest) -> None:
        """Store labels on the grid of the image."""

    @abstractmethod
    def save_derived(self, image_id: str, volumes: Mapping[Sequence, Volume], model: ModelInfo) -> list[str]:
        """Store images that were computed from a case, beside it.

        Parameters
        ----------
        volumes : float32, with frame of reference and source images where the case has them
        model : that computed them

        Returns
        -------
        Where they are, in the given order: series UIDs in an archive, paths on a disk.
        """

    def name(self) -> str:
        """The name of the datastore."""
        return str((self._defaults | self._notes.read("datastore"))["name"])

    def set_name(self, name: str) -> None:
        """Rename the datastore."""
        self._notes.update({"name": name}, "datastore")

    def description(self) -> str:
        """A sentence on what the datastore holds."""
        return str((self._defaults | self._notes.read("datastore"))["description"])

    def set_description(self, description: str) -> None:
        """Describe the datastore anew."""
        self._notes.update({"description": description}, "datastore")

    def list_images(self) -> list[str]:
        """The id of each complete case: that of its T1c."""
        return list(self._tags_by_case())

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Cases with a label of this tag, final by default. ``labels`` does not matter: all are in one label."""
        wanted = checked_tag(label_tag or FINAL)
        return [case for case, tags in self._tags_by_case().items() if wanted in tags]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Cases without a label of this tag, final by default."""
        wanted = checked_tag(label_tag or FINAL)
        return [case for case, tags in self._tags_by_case().items() if wanted not in tags]

    def datalist(self) -> list[dict[str, Any]]:
        """For each case with a final label the paths {"image": ..., "label": ...}: the label on the voxels it was
        drawn on, the image of that grid. ``label.case.read_case(image)`` reads the four sequences.

        A case that cannot be read is left out, with a warning: one bad study does not stop the training.
        """
        pairs = []
        for case in self.get_labeled_images():
            try:
                image = self._drawn_on(self._find(case), FINAL)
                pairs.append({"image": str(self._path(image)), "label": str(self._label_path(image, FINAL) or "")})
            except ArchiveError:
                raise
            except AcuityError as error:
                _log.warning("a labeled case is left out of the training: %s: %s", error.code, error)
        return pairs

    def get_image_uri(self, image_id: str) -> str:
        """The path of an image; an archive's is fetched unless it was before.

        Raises
        ------
        InputNotFoundError : there is no such image
        MissingSequenceError, SelectionError, SeriesError, DataError : its case is not complete, or not sound
        ArchiveError : the archive fails
        """
        return str(self._path(self._find(image_id)))

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """For each tag that its case has a label of, the label's id, which is the image's."""
        return dict.fromkeys(sorted(self._tags(self._find(image_id))), image_id)

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """The id of an image's label, "" where it has none of this tag."""
        return self.get_labels_by_image_id(image_id).get(checked_tag(tag), "")

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The path of the case's newest label, on the grid of this image; "" where there is none of this tag.

        Raises
        ------
        UnsupportedSeriesError : the segmentation's frames form no volume, or its segments overlap
        DataError : it lies in another frame of reference than the series
        """
        path = self._label_path(self._find(label_id), checked_tag(label_tag))
        return "" if path is None else str(path)

    def get_image(self, image_id: str, params: Any = None) -> Any:
        """The image's file as a stream of bytes."""
        return io.BytesIO(Path(self.get_image_uri(image_id)).read_bytes())

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> Any:
        """The label's file as a stream of bytes; None where there is no such label."""
        uri = self.get_label_uri(label_id, label_tag)
        return io.BytesIO(Path(uri).read_bytes()) if uri else None

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a label, which counts from now on in place of an earlier one of its case and tag.

        Parameters
        ----------
        label_filename : NIfTI or NRRD on the grid of the image, see ``label.masks.read_upload``
        label_info : see ``label.request.SaveRequest``; it is noted

        Returns
        -------
        The label's id.

        Raises
        ------
        InputNotFoundError : there is no such image
        DataError : the tag, the request, the file or a value is not valid, or the voxels are not the image's
        ArchiveError : the archive does not take it
        """
        image, tag = self._find(image_id), checked_tag(label_tag)
        request = checked(SaveRequest, label_info, "label_info")
        volume = read_volume(self._path(image))
        labels = read_upload(Path(label_filename), request.label_info or [], volume.grid)
        self._store_label(image, volume.with_array(labels.array), tag, request)
        self._notes.write(label_info, "label", image.case, tag)
        return image_id

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """The note of an image, and its name."""
        return self._notes.read("image", self._find(image_id).case) | {"name": image_id}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Note something of an image."""
        self._notes.update(info, "image", self._find(image_id).case)

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """The note of a label, and what it says of itself; empty where there is no such label."""
        image, tag = self._find(label_id), checked_tag(label_tag)
        if tag not in self._tags(image):
            return {}
        return self._notes.read("label", image.case, tag) | self._label_facts(image, tag)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Note something of a label."""
        self._notes.update(info, "label", self._find(label_id).case, checked_tag(label_tag))

    def refresh(self) -> None:
        """Nothing to do: no list is kept."""

    def status(self) -> dict[str, Any]:
        """How many cases there are, how many have a final label, and how many labels of each tag."""
        cases = self._tags_by_case()
        tags = [tag for found in cases.values() for tag in found]
        return {
            "total": len(cases),
            "completed": tags.count(FINAL),
            "label_tags": {tag: tags.count(tag) for tag in sorted(set(tags))},
        }

    def json(self) -> dict[str, Any]:
        """All cases and their labels, as MONAI Label's own datastores give them."""
        objects = {
            case: {
                "image": {"ext": ".nii.gz", "info": self._notes.read("image", case) | {"name": case}},
                "labels": {tag: {"ext": ".nii.gz", "info": self._notes.read("label", case, tag)} for tag in tags},
            }
            for case, tags in self._tags_by_case().items()
        }
        return {"name": self.name(), "description": self.description(), "objects": objects}

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """The path of a ZIP with the four images and the final label of each labeled case; the next call replaces it.

        DataError where no case has a final label.
        """
        pairs = self.datalist()
        if not pairs:
            raise DataError(
                "No case has a final label.", rule="The archive holds labeled cases.", remedy="Annotate a case first."
            )
        target = self._state / "dataset.zip"
        write_whole(target, lambda path: _write_zip(path, pairs[: limit_cases or None]))
        return str(target)


def _write_zip(path: Path, pairs: list[dict[str, Any]]) -> None:
    """Cases are numbered: names of folders may tell of patients."""
    with zipfile.ZipFile(path, mode="x") as archive:
        for number, pair in enumerate(pairs, start=1):
            for sequence, file in complete_case(Path(pair["image"]).parent).items():
                extension = ".nii.gz" if file.name.endswith(".gz") else ".nii"
                archive.write(file, arcname=f"case_{number:04d}/{sequence.value}{extension}")
            archive.write(pair["label"], arcname=f"case_{number:04d}/label.nii.gz")


def checked_tag(tag: str) -> str:
    """A label's tag as plain text; DataError where it is none."""
    text = tag.value if isinstance(tag, DefaultLabelTag) else str(tag)
    if not _TAG.fullmatch(text):
        raise DataError(
            f"{text[:40]!r} is no label tag.",
            rule="A tag has 1 to 32 letters, digits, - and _.",
            remedy="Use final for corrected labels, original for those of a model.",
        )
    return text
