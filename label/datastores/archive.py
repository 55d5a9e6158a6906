"""Cases in an archive (PACS): a study is a case, any of its four series opens it, labels are Segmentations in it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydicom.uid import generate_uid

from acuity.anatomy import Sequence
from acuity.dicom.reading.read_seg import read_segmentation
from acuity.dicom.writing.model_info import ModelInfo
from acuity.dicom.writing.series import write_mr_series
from acuity.errors import DataError, InputNotFoundError, OutputError
from acuity.pipeline.preparation import REFERENCE
from acuity.volume import Volume
from label.case import read_volume, write_volume
from label.datastores.dicomweb import Archive, SeriesEntry, checked_uid
from label.datastores.segmentations import SegmentationEntry, Segmentations, model_of, write_label
from label.datastores.store import CaseDatastore
from label.datastores.studies import Studies, StudyCase, image_path
from label.files import scratch_folder, write_whole
from label.request import SaveRequest, checked
from label.spaces import placed_labels

_FIRST_DERIVED = 9111  # series number
_Text = Annotated[str, Field(min_length=1, pattern=r"\S")]  # an empty value would match every study


class StudyFilters(BaseModel):
    """QIDO-RS keywords of studies (PS3.18 table 10.6.1-5, and the description, which archives know too).

    Keywords of series would list parts of studies, and other modalities than MR no case.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    Modality: Literal["MR"] | None = None
    AccessionNumber: _Text | None = None
    ModalitiesInStudy: _Text | None = None
    PatientID: _Text | None = None
    PatientName: _Text | None = None
    ReferringPhysicianName: _Text | None = None
    StudyDate: _Text | None = None
    StudyDescription: _Text | None = None
    StudyID: _Text | None = None
    StudyInstanceUID: _Text | None = None
    StudyTime: _Text | None = None


class _Opened(NamedTuple):
    """A series of a case, and all series of its study."""

    study: StudyCase
    sequence: Sequence
    entries: list[SeriesEntry]

    @property
    def case(self) -> str:
        """The UID of the series that stands for the case."""
        return self.study.series[REFERENCE]


class ArchiveDatastore(CaseDatastore[_Opened]):
    """Studies of an archive behind DICOMweb.

    An image's id is the UID of its series. ``list_images`` names the series of the T1c of each study in which the
    library's rules find all four sequences; the UIDs of the other three open the case on their own grids. A label is
    the newest Segmentation of its tag, wherever it was drawn, on the grid of the series that opened the case. Saving
    adds a Segmentation to the study; nothing is ever deleted from an archive.

    Parameters
    ----------
    archive : where the studies are
    cache : folder for fetched images, readable by this user only; each archive gets a folder of its own in it
    filters : ``StudyFilters``, for example {"PatientID": "TRIAL*", "StudyDate": "20260101-"}; without them all studies
        are listed. Only lists, suggestions and trainings are filtered: a viewer may open any study of the archive.

    Raises
    ------
    OutputError : the cache cannot be written to
    DataError : a filter is none of studies, or its value cannot match
    """

    def __init__(self, archive: Archive, cache: Path, filters: Mapping[str, str] | None = None) -> None:
        own = cache / hashlib.sha256(archive.url.encode()).hexdigest()[:16]
        try:
            super().__init__("Studies of the archive", own)
        except OSError as error:
            raise OutputError(
                f"The cache cannot be written to: {error.strerror}.",
                rule="Images are fetched into it.",
                remedy="Name another folder.",
            ) from error
        self._archive = archive
        chosen = checked(StudyFilters, dict(filters or {}), "filter")
        self._filters: dict[str, str] = chosen.model_dump(exclude_none=True, exclude={"Modality"})
        self._studies = Studies(archive, own / "studies")
        self._segmentations = Segmentations(archive, own / "studies")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Refused: nothing is deleted from an archive."""
        raise _not_here("A label is not deleted from the archive.", "Save a corrected one: the newest counts.")

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refused: images come into an archive as DICOM."""
        raise _not_here("An image is not added to the archive.", "Send the study to the archive as DICOM.")

    def remove_image(self, image_id: str) -> None:
        """Refused: nothing is deleted from an archive."""
        raise _not_here("An image is not deleted from the archive.", "Delete the study in the archive.")

    def save_derived(self, image_id: str, volumes: Mapping[Sequence, Volume], model: ModelInfo) -> list[str]:
        """Store computed images as derived MR series of the study."""
        self._find(image_id)
        uids = []
        with scratch_folder(self._state) as work:
            for sequence, volume in volumes.items():
                uids.append(str(generate_uid()))
                write_mr_series(
                    volume,
                    work / sequence.value,
                    sequence=sequence,
                    series_uid=uids[-1],
                    series_number=_FIRST_DERIVED + list(Sequence).index(sequence),
                    model=model,
                )
            self._archive.store(sorted(work.rglob("*.dcm")))
        return uids

    def _tags_by_case(self) -> dict[str, list[str]]:
        # One query for the studies and one for each modality, however many studies there are.
        wanted = self._archive.studies(**self._filters) if self._filters else None
        images, segmentations = (self._listed(modality, wanted) for modality in ("MR", "SEG"))
        return {
            case.series[REFERENCE]: sorted(
                self._segmentations.newest(images[case.study_uid] + segmentations[case.study_uid])
            )
            for case in self._studies.complete(images)
        }

    def _listed(self, modality: str, wanted: set[str] | None) -> defaultdict[str, list[SeriesEntry]]:
        """The series of a modality by study, in the wanted studies, in all for None."""
        # The archive may send series of other studies too; and Orthanc finds no series by the modalities of its study.
        shared = {key: value for key, value in self._filters.items() if key != "ModalitiesInStudy"}
        by_study: defaultdict[str, list[SeriesEntry]] = defaultdict(list)
        for entry in self._archive.series(Modality=modality, **shared):
            if wanted is None or entry.study_uid in wanted:
                by_study[entry.study_uid].append(entry)
        return by_study

    def _find(self, image_id: str) -> _Opened:
        """Ask the archive which study a series is of, and which four are its case."""
        found = self._archive.series(SeriesInstanceUID=checked_uid(str(image_id)))
        if len(found) != 1:
            raise InputNotFoundError(
                "The archive has no series of this id.",
                rule="An image's id is the UID of its series.",
                remedy="List the images.",
            )
        entries = self._archive.series(found[0].study_uid)
        study = self._studies.require(found[0].study_uid, entries)
        sequence = study.sequence_of(found[0].series_uid)
        if sequence is None:
            raise InputNotFoundError(
                "The series is none of the four that were chosen in its study.",
                rule="A case is opened by its T1, T1c, T2 or FLAIR.",
                remedy="List the images, or open one of the four.",
            )
        return _Opened(study, sequence, entries)

    def _path(self, image: _Opened) -> Path:
        return image_path(self._studies.folder_of(image.study), image.sequence)

    def _tags(self, image: _Opened) -> Iterable[str]:
        return self._segmentations.newest(image.entries)

    def _label_path(self, image: _Opened, tag: str) -> Path | None:
        seg = self._segmentations.newest(image.entries).get(tag)
        if seg is None:
            return None
        path = self._path(image)
        target = path.parent / "labels" / seg.sop_uid / path.name
        if not target.is_file():
            write_whole(target, partial(write_volume, self._labels_of(image, seg, read_volume(path))))
        return target

    def _labels_of(self, image: _Opened, seg: SegmentationEntry, volume: Volume) -> Volume:
        labels = read_segmentation(self._archive.instance(image.study.study_uid, seg.series_uid, seg.sop_uid))
        frames = {labels.frame_of_reference_uid, volume.frame_of_reference_uid}
        if len(frames - {None}) > 1:
            raise DataError(
                "The label lies in another frame of reference than the series.",
                rule="A label is shown on series of the patient space that it was drawn in.",
                remedy="Open the series that it was drawn on.",
            )
        drawn_there = seg.reference == image.study.series[image.sequence]
        return volume.with_array(placed_labels(labels, volume.grid, drawn_there=drawn_there).array)

    def _drawn_on(self, image: _Opened, tag: str) -> _Opened:
        seg = self._segmentations.newest(image.entries).get(tag)
        sequence = None if seg is None else image.study.sequence_of(seg.reference)
        return image._replace(sequence=sequence or REFERENCE)

    def _label_facts(self, image: _Opened, tag: str) -> dict[str, Any]:
        facts = asdict(self._segmentations.newest(image.entries)[tag])
        series, instance = facts.pop("series_uid"), facts.pop("sop_uid")
        return facts | {
            "Modality": "SEG",
            "StudyInstanceUID": image.study.study_uid,
            "SeriesInstanceUID": series,
            "SOPInstanceUID": instance,
        }

    def _store_label(self, image: _Opened, labels: Volume, tag: str, request: SaveRequest) -> None:
        """Store a BINARY Segmentation of the series that it was drawn on."""
        model = model_of(request)
        with scratch_folder(self._state) as work:
            write_label(
                labels,
                work / "label.dcm",
                tag=tag,
                annotator=request.user or "",
                model=model or self._corrected(image),
                computed=model is not None,
            )
            self._archive.store([work / "label.dcm"])

    def _corrected(self, image: _Opened) -> ModelInfo | None:
        """The model whose labels an annotator had before them: that of the newest that name one."""
        named = [(seg.created, seg.model) for seg in self._segmentations.newest(image.entries).values() if seg.model]
        return ModelInfo(*max(named)[1]) if named else None


def _not_here(found: str, remedy: str) -> DataError:
    return DataError(found, rule="Objects are only added to the archive, and only as DICOM.", remedy=remedy)
