"""The tumor segmentations of a study: whose they are, which is the newest, and writing one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid

from acuity import __version__
from acuity.dicom.reading.headers import values_of
from acuity.dicom.reading.read_seg import segment_labels
from acuity.dicom.writing.model_info import ModelInfo
from acuity.dicom.writing.segmentation import write_annotation, write_segmentation
from acuity.errors import DataError, UnsupportedSeriesError
from acuity.volume import Volume
from label.datastores.dicomweb import Archive, InvalidAnswerError, SeriesEntry
from label.datastores.store import FINAL, ORIGINAL
from label.files import remembered
from label.request import SaveRequest
from label.soundness import segmentation_fault

# Series numbers where a scanner's do not reach, after those of the application.
_BY_MODEL, _BY_PERSON = 9101, 9102
_UNKNOWN = "unknown"  # version or weights of a model that names none
_TAG_IN_DESCRIPTION = re.compile(r"\[([A-Za-z0-9_-]{1,32})\]$")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmentationEntry:
    """One Segmentation of a study.

    Parameters
    ----------
    tag : "original" for a model's, "final" for a person's, or the one that its description ends with
    created : date and time when the object was made, as text that sorts
    reference : UID of the series it was drawn on; "" if it names none
    annotator : Content Creator's Name; "" if it has none
    model : name, version and hash of the weights of what computed its segments; None if it names none
    """

    series_uid: str
    sop_uid: str
    tag: str
    created: str
    reference: str
    annotator: str
    model: tuple[str, str, str] | None


class Segmentations:
    """The tumor segmentations of studies in an archive.

    Parameters
    ----------
    archive : where they are
    cache : folder for descriptions from their headers; a header never changes under its UID
    """

    def __init__(self, archive: Archive, cache: Path) -> None:
        self._archive = archive
        self._cache = cache

    def newest(self, entries: Iterable[SeriesEntry]) -> dict[str, SegmentationEntry]:
        """For each tag the newest of the segmentations in a study.

        Objects that are no tumor segmentation of Acuity's segments are passed over, and those that are not sound, see
        ``label.soundness``, with a line in the log.

        Parameters
        ----------
        entries : all series of the study
        """
        entries = list(entries)
        images = {entry.series_uid: entry.count for entry in entries if entry.modality == "MR"}
        found: dict[str, SegmentationEntry] = {}
        for entry in entries:
            for seg in self._of_series(entry, images) if entry.modality == "SEG" else []:
                rival = found.get(seg.tag)
                if rival is None or (seg.created, seg.sop_uid) > (rival.created, rival.sop_uid):
                    found[seg.tag] = seg
        return found

    def _of_series(self, entry: SeriesEntry, images: Mapping[str, int]) -> list[SegmentationEntry]:
        def image_of(series_uid: str) -> Dataset | None:
            return self._archive.header(entry.study_uid, series_uid) if series_uid in images else None

        def describe() -> list[dict[str, Any]]:
            try:
                headers = self._archive.headers(entry.study_uid, entry.series_uid)
            except InvalidAnswerError as error:
                _log.warning("a segmentation is passed over: %s", error.found)
                return []
            return [asdict(seg) for ds in headers if (seg := describe_segmentation(ds, entry, image_of)) is not None]

        file = self._cache / entry.study_uid / "segmentations" / f"{entry.series_uid}.json"
        state = {"version": __version__, "count": entry.count, "images": dict(sorted(images.items()))}
        found = remembered(file, None if entry.count == -1 else state, describe)
        return [SegmentationEntry(**item) for item in found]


def describe_segmentation(
    ds: Dataset, listed: SeriesEntry, image_of: Callable[[str], Dataset | None]
) -> SegmentationEntry | None:
    """The entry of a segmentation by its header; None, with a line in the log, where it does not count.

    Parameters
    ----------
    listed : the series that the archive has it in
    image_of : as ``label.soundness.segmentation_fault`` takes it
    """
    try:
        segment_labels(ds)
    except UnsupportedSeriesError as error:
        _log.info("a segmentation is passed over: %s", error.found)
        return None
    except (AttributeError, TypeError, ValueError) as error:
        _log.warning("a segmentation is passed over: its segments cannot be read (%s)", type(error).__name__)
        return None
    fault = segmentation_fault(ds, image_of)
    if not fault and (ds.StudyInstanceUID, ds.SeriesInstanceUID) != (listed.study_uid, listed.series_uid):
        fault = "It has other UIDs than the archive lists."
    if fault:
        _log.warning("a segmentation is passed over: %s", fault)
        return None
    named = _TAG_IN_DESCRIPTION.search(str(ds.get("SeriesDescription") or ""))
    model, computed = _model(ds), _computed(ds)
    return SegmentationEntry(
        series_uid=str(ds.SeriesInstanceUID),
        sop_uid=str(ds.SOPInstanceUID),
        tag=named.group(1) if named and (computed or named.group(1) != ORIGINAL) else ORIGINAL if computed else FINAL,
        created=_created(ds),
        reference=str((ds.get("ReferencedSeriesSequence") or [Dataset()])[0].get("SeriesInstanceUID", "")),
        annotator=str(ds.get("ContentCreatorName") or "").strip("^"),
        model=None if model is None else (model.name, model.version, model.weights_sha256),
    )


def write_label(
    labels: Volume, path: Path, *, tag: str, annotator: str, model: ModelInfo | None, computed: bool
) -> None:
    """Write labels as a new series of their study.

    Parameters
    ----------
    labels : uint8 of 0, 1, 2 and 4 on the grid of the series that its source images are
    tag : stands at the end of the series' description, unless the author tells it: original for a model, final for a
        person
    annotator : who drew or corrected them; "" if not known
    model : that computed them, or whose labels were corrected; None if neither
    computed : whether the model alone made them

    Raises
    ------
    DataError : the annotator's name does not fit DICOM
    """
    if labels.frame_of_reference_uid is None:
        # Segmentations need one: the same for all of a series' whenever they are made.
        entropy = [str(labels.source_images[0].SeriesInstanceUID), "frame of reference"]
        labels = Volume(labels.array, labels.affine, generate_uid(entropy_srcs=entropy), labels.source_images)
    plain_tag = ORIGINAL if computed else FINAL
    description = "Tumor by AI" if computed else "Tumor by annotator"
    description += "" if tag == plain_tag else f" [{tag}]"
    naming: dict[str, Any] = {"series_uid": generate_uid(), "description": description}
    if computed:
        assert model is not None, "what is computed has a model"
        write_segmentation(labels, labels.source_images, path, model=model, series_number=_BY_MODEL, **naming)
        return
    try:
        write_annotation(
            labels, labels.source_images, path, annotator=annotator, model=model, series_number=_BY_PERSON, **naming
        )
    except ValueError as error:
        raise DataError(
            "The annotator's name does not fit DICOM.",
            rule="It has 63 characters at most, and no backslash, = or control character.",
            remedy="Shorten the account's name.",
        ) from error


def model_of(request: SaveRequest) -> ModelInfo | None:
    """The model that a request to save names, None where a person saves; DataError where it does not fit DICOM."""
    if not request.model:
        return None
    params = request.params or {}
    try:
        return ModelInfo(request.model, *(str(params.get(key) or _UNKNOWN) for key in ("version", "weights_sha256")))
    except ValueError as error:
        raise DataError(
            "The model's name or version does not fit DICOM.",
            rule="Each has 1 to 64 characters.",
            remedy="Correct the request.",
        ) from error


def _computed(ds: Dataset) -> bool:
    """Whether a model alone made a segmentation: each segment is AUTOMATIC and says by which algorithm.

    Viewers keep the algorithm type of segments that a person has edited since, but not the algorithm's identification.
    """
    items = ds.SegmentSequence
    return all(
        str(item.get("SegmentAlgorithmType")) == "AUTOMATIC" and "SegmentationAlgorithmIdentificationSequence" in item
        for item in items
    )


def _model(ds: Dataset) -> ModelInfo | None:
    algorithms = ds.SegmentSequence[0].get("SegmentationAlgorithmIdentificationSequence")
    if not algorithms:
        return None
    algorithm = algorithms[0]
    parameters = " ".join(str(value) for value in values_of(algorithm.get("AlgorithmParameters")))
    weights = re.search(r"[0-9a-f]{64}", parameters)
    return ModelInfo(
        str(algorithm.get("AlgorithmName") or _UNKNOWN)[:64],
        str(algorithm.get("AlgorithmVersion") or _UNKNOWN)[:64],
        weights.group() if weights else _UNKNOWN,
    )


def _created(ds: Dataset) -> str:
    """When the object was made, as text that sorts; viewers may give universal time for local, see ``repair_seg``."""
    for kind in ("InstanceCreation", "Content", "Series"):
        date, time = str(ds.get(f"{kind}Date") or ""), str(ds.get(f"{kind}Time") or "")
        if date and time:
            whole, _, fraction = time.partition(".")
            return f"{date}{whole:0<6}.{fraction:0<6}"
    return ""
