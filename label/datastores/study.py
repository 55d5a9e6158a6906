"""Cases in an archive (PACS): a study is a case, any of its four series opens it, labels are Segmentations in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from pydicom.uid import generate_uid

from acuity.anatomy import Sequence
from acuity.dicom.reading.read_seg import read_segmentation
from acuity.dicom.writing.model_info import ModelInfo
from acuity.dicom.writing.series import write_mr_series
from acuity.errors import DataError, InputNotFoundError, OutputError
from acuity.pipeline.preparation import REFERENCE
from acuity.volume import Volume
from label.case import read_volume, write_volume
from label.datastores.base import CaseDatastore, annotator_of, checked_tag, segments_of
from label.datastores.dicomweb import Archive, SeriesEntry, checked_uid
from label.datastores.notes import scratch_folder, write_whole
from label.datastores.placement import placed_labels
from label.datastores.segmentations import SegmentationEntry, Segmentations, model_of, write_label
from label.datastores.studies import Studies, StudyCase, image_path
from label.datastores.uploads import read_upload

_FIRST_DERIVED = 9111  # series number
# What studies are searched for by: PS3.18 table 10.6.1-5, and the description, which archives know too.
_STUDY_KEYWORDS = {
    "AccessionNumber",
    "ModalitiesInStudy",
    "PatientID",
    "PatientName",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyDescription",
    "StudyID",
    "StudyInstanceUID",
    "StudyTime",
}


class _Opened(NamedTuple):
    """A case that an image's id leads to, and all series of its study."""

    case: StudyCase
    sequence: Sequence
    entries: list[SeriesEntry]


class StudyDatastore(CaseDatastore):
    """Studies of an archive behind DICOMweb.

    An image's id is the UID of its series. ``list_images`` names the series of the T1c of each study in which the
    library's rules find all four sequences; the UIDs of the other three open the case on their own grids. A label is
    the newest Segmentation of its tag, wherever it was drawn, on the grid of the series that opened the case. Saving
    adds a Segmentation to the study; nothing is ever deleted from an archive.

    Parameters
    ----------
    archive : where the studies are
    cache : folder for what was fetched, readable by this user only; each archive gets a folder of its own in it
    filters : QIDO-RS keywords of studies and the values that they must have, for example {"PatientID": "TRIAL*",
        "StudyDate": "20260101-"}; without them all studies are listed. Modality may be MR, which cases are anyhow.
        Only what is listed, suggested and trained on is filtered: a viewer may open any study that the archive holds.

    Raises
    ------
    OutputError : the cache cannot be written to
    DataError : a filter is none of studies, so that parts of studies would be listed; or its value cannot match
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
        self._filters = _study_filters(filters or {})
        self._studies = Studies(archive, own / "studies")
        self._segmentations = Segmentations(archive, own / "studies")

    def get_image_uri(self, image_id: str) -> str:
        """The path of an image, fetched from the archive unless it was before.

        Raises
        ------
        InputNotFoundError : no study has such a series, or it is none of its study's four
        SelectionError, SeriesError : the study is not complete, or one of its series is not sound
        ArchiveError : the archive fails
        """
        opened = self._open(image_id)
        return str(image_path(self._studies.folder_of(opened.case), opened.sequence))

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """For each tag that its study has a label of, the label's id, which is the image's."""
        return dict.fromkeys(sorted(self._segmentations.newest(self._open(image_id).entries)), image_id)

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The path of the study's newest label on the grid of this series; "" where there is none of this tag.

        Raises
        ------
        UnsupportedSeriesError : the segmentation's frames form no volume, or its segments overlap
        DataError : it lies in another frame of reference than the series
        """
        opened = self._open(label_id)
        seg = self._segmentations.newest(opened.entries).get(checked_tag(label_tag))
        if seg is None:
            return ""
        folder = self._studies.folder_of(opened.case)
        target = folder / "labels" / seg.sop_uid / image_path(folder, opened.sequence).name
        if not target.is_file():
            volume = read_volume(image_path(folder, opened.sequence))
            labels = self._labels_of(opened, seg, volume)
            write_whole(target, lambda path: write_volume(labels, path))
        return str(target)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a label as a BINARY Segmentation of the series that it was drawn on.

        Parameters
        ----------
        label_filename : NIfTI or NRRD on the grid of the series; its values are named by label_info["label_info"], see
            ``label.datastores.uploads``
        label_info : "user" names the annotator; "model" and "params" what computed the label, see ``model_of``

        Returns
        -------
        The label's id.

        Raises
        ------
        InputNotFoundError : there is no such image
        DataError : the tag, the file or a value is not valid, or the voxels are not the series'
        ArchiveError : the archive does not take it
        """
        opened, tag = self._open(image_id), checked_tag(label_tag)
        folder = self._studies.folder_of(opened.case)
        volume = read_volume(image_path(folder, opened.sequence))
        labels = read_upload(Path(label_filename), segments_of(label_info), volume.grid)
        model = model_of(label_info)
        with scratch_folder(self._state) as work:
            write_label(
                volume.with_array(labels.array),
                work / "label.dcm",
                tag=tag,
                annotator=annotator_of(label_info),
                model=model or self._corrected(opened),
                computed=model is not None,
            )
            self._archive.store([work / "label.dcm"])
        self._notes.write(label_info, "label", opened.case.series[REFERENCE], tag)
        return image_id

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
        """Store computed images as derived MR series of the study; returns their series UIDs in the given order."""
        self._open(image_id)
        uids = []
        with scratch_folder(self._state) as work:
            for sequence, volume in volumes.items():
                uids.append(str(generate_uid()))
                number = _FIRST_DERIVED + list(Sequence).index(sequence)
                write_mr_series(
                    volume,
                    work / sequence.value,
                    sequence=sequence,
                    series_uid=uids[-1],
                    series_number=number,
                    model=model,
                )
            self._archive.store(sorted(work.rglob("*.dcm")))
        return uids

    def _tags_by_case(self) -> dict[str, list[str]]:
        # One query for the studies and one for each modality, however many studies there are.
        wanted = self._archive.studies(**self._filters) if self._filters else None
        cases = self._studies.complete(self._listed("MR", wanted))
        segmentations: dict[str, list[SeriesEntry]] = {}
        for entry in self._listed("SEG", wanted):
            segmentations.setdefault(entry.study_uid, []).append(entry)
        return {
            case.series[REFERENCE]: sorted(self._segmentations.newest(segmentations.get(case.study_uid, [])))
            for case in cases
        }

    def _listed(self, modality: str, wanted: set[str] | None) -> list[SeriesEntry]:
        """The series of a modality in the wanted studies, in all for None."""
        # The archive need not send what is not wanted; but Orthanc finds no series by the modalities of its study.
        shared = {key: value for key, value in self._filters.items() if key != "ModalitiesInStudy"}
        found = self._archive.series(Modality=modality, **shared)
        return found if wanted is None else [entry for entry in found if entry.study_uid in wanted]

    def _canonical(self, image_id: str) -> str:
        return self._open(image_id).case.series[REFERENCE]

    def _drawn_on(self, image_id: str, tag: str) -> str:
        opened = self._open(image_id)
        seg = self._segmentations.newest(opened.entries).get(tag)
        if seg is not None and opened.case.sequence_of(seg.reference) is not None:
            return seg.reference
        return opened.case.series[REFERENCE]

    def _label_facts(self, image_id: str, tag: str) -> dict[str, Any]:
        opened = self._open(image_id)
        seg = self._segmentations.newest(opened.entries).get(tag)
        if seg is None:
            return {}
        facts = {key: value for key, value in asdict(seg).items() if key not in ("series_uid", "sop_uid")}
        return facts | {
            "Modality": "SEG",
            "StudyInstanceUID": opened.case.study_uid,
            "SeriesInstanceUID": seg.series_uid,
            "SOPInstanceUID": seg.sop_uid,
        }

    def _open(self, image_id: str) -> _Opened:
        """Ask the archive which study a series is of, and what its four are."""
        found = self._archive.series(SeriesInstanceUID=checked_uid(str(image_id)))
        if len(found) != 1:
            raise InputNotFoundError(
                "The archive has no series of this id.",
                rule="An image's id is the UID of its series.",
                remedy="List the images.",
            )
        entries = self._archive.series(found[0].study_uid)
        case = self._studies.require(found[0].study_uid, entries)
        sequence = case.sequence_of(found[0].series_uid)
        if sequence is None:
            raise InputNotFoundError(
                "The series is none of the four that were chosen in its study.",
                rule="A case is opened by its T1, T1c, T2 or FLAIR.",
                remedy="List the images, or open one of the four.",
            )
        return _Opened(case, sequence, entries)

    def _labels_of(self, opened: _Opened, seg: SegmentationEntry, volume: Volume) -> Volume:
        labels = read_segmentation(self._archive.instance(opened.case.study_uid, seg.series_uid, seg.sop_uid))
        frames = {labels.frame_of_reference_uid, volume.frame_of_reference_uid}
        if len(frames - {None}) > 1:
            raise DataError(
                "The label lies in another frame of reference than the series.",
                rule="A label is shown on series of the patient space that it was drawn in.",
                remedy="Open the series that it was drawn on.",
            )
        drawn_there = seg.reference == opened.case.series[opened.sequence]
        return volume.with_array(placed_labels(labels, volume.grid, drawn_there=drawn_there).array)

    def _corrected(self, opened: _Opened) -> ModelInfo | None:
        """The model whose labels an annotator had before them: that of the newest that name one."""
        named = [(seg.created, seg.model) for seg in self._segmentations.newest(opened.entries).values() if seg.model]
        return ModelInfo(*max(named)[1]) if named else None


def _not_here(found: str, remedy: str) -> DataError:
    return DataError(found, rule="The archive changes only by what is added to it.", remedy=remedy)


def _study_filters(filters: Mapping[str, Any]) -> dict[str, str]:
    """What studies are searched by. Messages name keywords only: values may identify patients."""
    found = dict(filters)
    if found.pop("Modality", "MR") != "MR":
        raise DataError(
            "The filter asks for another Modality than MR.",
            rule="Cases are T1, T1c, T2 and FLAIR, which are MR.",
            remedy="Leave Modality out of the filter.",
        )
    unknown = sorted(map(str, found.keys() - _STUDY_KEYWORDS))
    if unknown:
        raise DataError(
            f"Studies are filtered by {', '.join(unknown)}.",
            rule=f"The filter may have {', '.join(sorted(_STUDY_KEYWORDS))}.",
            remedy="Filter by what all series of a study share.",
        )
    for key, value in found.items():
        if not isinstance(value, str) or not value.strip():
            raise DataError(
                f"The filter's {key} is empty or no text.",
                rule="A value is text as QIDO-RS matches it; an empty one would match every study.",
                remedy="Give the value in quotes, or leave the keyword out.",
            )
    return found
