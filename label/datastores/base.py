"""What both datastores share: MONAI Label's interface, on a few questions that each answers in its own way."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from acuity.anatomy import Sequence
from acuity.dicom.writing.model_info import ModelInfo
from acuity.errors import AcuityError, ArchiveError, DataError
from acuity.volume import Volume
from label.case import complete_case
from label.datastores.notes import Notes, write_whole

ORIGINAL, FINAL = DefaultLabelTag.ORIGINAL.value, DefaultLabelTag.FINAL.value

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")

_log = logging.getLogger(__name__)


class CaseDatastore(Datastore):
    """A datastore whose images are cases of four sequences.

    Ids come from requests: each is looked up in what is there, and never becomes a path. Nothing that is listed is
    kept between two calls, so that what changes on the disk or in the archive is seen at once.

    Parameters
    ----------
    name : how the datastore calls itself until it is renamed
    state : folder for notes, readable by this user only; made if absent
    """

    def __init__(self, name: str, state: Path) -> None:
        self._state = state
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._notes = Notes(state / "notes")
        self._defaults = {"name": name, "description": "Cases of T1, T1c, T2 and FLAIR"}

    @abstractmethod
    def _tags_by_case(self) -> dict[str, list[str]]:
        """The id of each complete case, in a steady order, and the tags of its labels."""

    @abstractmethod
    def _canonical(self, image_id: str) -> str:
        """The id that ``list_images`` gives the case of an image; InputNotFoundError where there is none."""

    @abstractmethod
    def _drawn_on(self, image_id: str, tag: str) -> str:
        """The id of the image of a case that its label of this tag was drawn on."""

    @abstractmethod
    def _label_facts(self, image_id: str, tag: str) -> dict[str, Any]:
        """What the label says of itself."""

    @abstractmethod
    def save_derived(self, image_id: str, volumes: Mapping[Sequence, Volume], model: ModelInfo) -> list[str]:
        """Store images that were computed from a case, beside it.

        Parameters
        ----------
        volumes : float32, with frame of reference and source images where the case has them
        model : what computed them

        Returns
        -------
        Where they are: series UIDs in an archive, paths on a disk.
        """

    def name(self) -> str:
        """How the datastore is called."""
        return str((self._defaults | self._notes.read("datastore"))["name"])

    def set_name(self, name: str) -> None:
        """Rename the datastore."""
        self._notes.update({"name": name}, "datastore")

    def description(self) -> str:
        """What the datastore holds."""
        return str((self._defaults | self._notes.read("datastore"))["description"])

    def set_description(self, description: str) -> None:
        """Describe the datastore anew."""
        self._notes.update({"description": description}, "datastore")

    def datalist(self) -> list[dict[str, Any]]:
        """For each case with a final label the paths {"image": ..., "label": ...}: the label on the voxels it was
        drawn on, the image of that grid. ``label.case.read_case(image)`` reads the four sequences.

        A case that cannot be read is left out, with a warning: one bad study does not stop the training.
        """
        pairs = []
        for case in self.get_labeled_images():
            try:
                image = self._drawn_on(case, FINAL)
                pairs.append({"image": self.get_image_uri(image), "label": self.get_label_uri(image, FINAL)})
            except ArchiveError:
                raise
            except AcuityError as error:
                _log.warning("a labeled case is left out of the training: %s: %s", error.code, error)
        return pairs

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

    def get_image(self, image_id: str, params: Any = None) -> Any:
        """The image's file as a stream of bytes."""
        return io.BytesIO(Path(self.get_image_uri(image_id)).read_bytes())

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> Any:
        """The label's file as a stream of bytes; None where there is no such label."""
        uri = self.get_label_uri(label_id, label_tag)
        return io.BytesIO(Path(uri).read_bytes()) if uri else None

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """The id of an image's label, "" where it has none of this tag."""
        return self.get_labels_by_image_id(image_id).get(checked_tag(tag), "")

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What was noted of an image, and its name."""
        return self._notes.read("image", self._canonical(image_id)) | {"name": image_id}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Note something of an image."""
        self._notes.update(info, "image", self._canonical(image_id))

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What was noted of a label, and what it says of itself; empty where there is no such label."""
        if not self.get_label_by_image_id(label_id, label_tag):
            return {}
        case = self._canonical(label_id)
        return self._notes.read("label", case, label_tag) | self._label_facts(label_id, label_tag)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Note something of a label."""
        self._notes.update(info, "label", self._canonical(label_id), checked_tag(label_tag))

    def refresh(self) -> None:
        """Nothing to do: nothing is kept."""

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

        Raises
        ------
        DataError : no case has a final label
        """
        pairs = self.datalist()
        if not pairs:
            raise DataError(
                "No case has a final label.",
                rule="The archive holds labeled cases.",
                remedy="Annotate one, and save it.",
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
    """A label's tag as plain text, if it may be one.

    Raises
    ------
    DataError : it is none
    """
    text = tag.value if isinstance(tag, DefaultLabelTag) else str(tag)
    if not _TAG.fullmatch(text):
        raise DataError(
            f"{text[:40]!r} is no label tag.",
            rule="A tag has 1 to 32 letters, digits, - and _.",
            remedy="Use final for corrected labels, original for those of a model.",
        )
    return text


def annotator_of(label_info: Mapping[str, Any]) -> str:
    """Who saves a label: the request's "user", which only the gateway sets; "" where it is not known.

    Raises
    ------
    DataError : it is no text
    """
    user = label_info.get("user") or ""
    if not isinstance(user, str):
        raise DataError(
            "The annotator is no text.", rule="user is a name or an account.", remedy="Correct the request."
        )
    return user


def segments_of(label_info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The request's "label_info": what the values of the label file mean.

    Raises
    ------
    DataError : it is no list
    """
    found = label_info.get("label_info") or []
    if not isinstance(found, list):
        raise DataError(
            "label_info is no list.",
            rule='It is a list of {"name": NAME, "idx": VALUE}.',
            remedy="Correct the request.",
        )
    return found
