"""Tumor labels written as DICOM Segmentation objects."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import PersonName

from acuity import __version__, anatomy
from acuity.anatomy import (
    BRAIN,
    MORPHOLOGY,
    REGION_COLORS,
    REGION_NAMES,
    REGION_TYPES,
    SEGMENTS,
    Label,
    Region,
    SegmentSpec,
    labels_to_regions,
)
from acuity.assessment import WHOLE, Assessment
from acuity.dicom.writing.model_info import MANUFACTURER, NOT_FOR_PRIMARY_DIAGNOSIS, ModelInfo
from acuity.dicom.writing.objects import object_arguments, save_object
from acuity.dicom.writing.source import complete_source, without_name
from acuity.volume import Volume


class _Segment(NamedTuple):
    """The Segment Description of one segment (PS3.3 C.8.20.4)."""

    name: str
    category: anatomy.Code
    type: anatomy.Code
    color: tuple[int, int, int]


class _Author(NamedTuple):
    """The person or the model that made a Segmentation."""

    equipment: dict[str, str]
    description: str
    creator: PersonName | None
    algorithm_type: hd.seg.SegmentAlgorithmTypeValues
    model: ModelInfo | None
    limits: str = ""  # what is not assessable, and why


class _Target(NamedTuple):
    """The file to write, and the series that it makes."""

    path: Path
    series_uid: str
    series_number: int
    description: str


# What the label server calls itself where a person is the author.
_LABEL_SERVER = {
    "manufacturer": MANUFACTURER,
    "manufacturer_model_name": "Acuity label server",
    "software_versions": __version__,
    "device_serial_number": "none",
}


def write_segmentation(
    labels: Volume,
    source_images: Sequence[Dataset],
    path: Path,
    *,
    series_uid: str,
    series_number: int,
    description: str,
    model: ModelInfo,
    assessment: Assessment = WHOLE,
) -> hd.seg.Segmentation:
    """Write tumor labels as a BINARY Segmentation (PS3.3 A.51), Explicit VR Little Endian.

    Segments 1..3 are those of ``acuity.anatomy.SEGMENTS``: they exclude one another, so that viewers
    show them without overlap and an annotator corrects each voxel once. All three are described also
    when one of them is empty. Frames without a voxel of their segment are left out; where no tumor was
    found at all, one empty frame a segment remains (the middle slice), because an image has at least
    one frame. A segment that is not assessable is not written: an empty one would say that nothing was found. Each
    Segment Description and the Image Comments say what is left out, and why.

    Parameters
    ----------
    labels : uint8 (I, J, K) of 0, 1, 2 and 4 with its affine in LPS mm and a frame of reference
    source_images : the images that viewers overlay the labels on, headers suffice: one series of
        single-frame images, or one multi-frame image; the labels' grid may differ from theirs
    path : the file to write; its folder is created if absent
    series_uid, series_number : of the new series
    description : Series Description, 64 characters at most
    model : what computed the labels
    assessment : what the images could tell

    Raises
    ------
    ValueError
        When ``labels`` holds another value, has no frame of reference, or one that is not its source's.
    """
    target = _Target(path, series_uid, series_number, description)
    masks = _segment_masks(labels.array, assessment.segments)
    return _write(_described(assessment.segments), masks, labels, source_images, target, _by_model(model, assessment))


def write_annotation(
    labels: Volume,
    source_images: Sequence[Dataset],
    path: Path,
    *,
    series_uid: str,
    series_number: int,
    description: str,
    annotator: str,
    model: ModelInfo | None = None,
) -> hd.seg.Segmentation:
    """Write labels that a person drew or corrected; parameters and errors beyond these are ``write_segmentation``'s.

    Parameters
    ----------
    annotator : who, for Content Creator's Name; a name or the account on the server; "" if not known
    model : what computed the labels that were corrected: the segments are then SEMIAUTOMATIC, else MANUAL (PS3.3
        C.8.20.2)

    Raises
    ------
    ValueError
        Also when ``annotator`` does not fit the value representation PN (64 characters, no backslash, = or control
        character).
    """
    kinds = hd.seg.SegmentAlgorithmTypeValues
    author = _Author(
        equipment=_LABEL_SERVER,
        description="Drawn or corrected by a person. Not for primary diagnosis.",
        creator=person_name(annotator),
        algorithm_type=kinds.SEMIAUTOMATIC if model else kinds.MANUAL,
        model=model,
    )
    target = _Target(path, series_uid, series_number, description)
    masks = _segment_masks(labels.array, SEGMENTS)
    return _write(_described(SEGMENTS), masks, labels, source_images, target, author)


def write_regions(
    labels: Volume,
    source_images: Sequence[Dataset],
    path: Path,
    *,
    series_uid: str,
    series_number: int,
    description: str,
    model: ModelInfo,
    assessment: Assessment = WHOLE,
) -> hd.seg.Segmentation:
    """Write ET, TC and WT as the overlapping segments 1..3 of a BINARY Segmentation of their own.

    The measurement report refers to it. A measurement group of TID 1411 names one segment; TC and WT are
    unions of the exclusive segments of ``write_segmentation``, and a reference to several segments is read
    by dcmqi as one to the first only. As further segments of that other object they would cover what
    an annotator corrects. Regions that are not assessable are left out, and the others numbered on.

    Parameters and errors are those of ``write_segmentation``.
    """
    _check_labels(labels.array)
    target = _Target(path, series_uid, series_number, description)
    masks = labels_to_regions(labels.array)[[list(Region).index(region) for region in assessment.regions]]
    segments = [_Segment(REGION_NAMES[r], MORPHOLOGY, REGION_TYPES[r], REGION_COLORS[r]) for r in assessment.regions]
    return _write(segments, masks, labels, source_images, target, _by_model(model, assessment))


def person_name(name: str) -> PersonName | None:
    """A name or an account as Content Creator's Name (VR PN, PS3.5 section 6.2); None for an empty one.

    Raises
    ------
    ValueError
        When it does not fit.
    """
    name = name.strip()
    if not name:
        return None
    if len(name) > 63 or any(c in "\\=" or not c.isprintable() for c in name):
        raise ValueError("the name has more than 63 characters, or a backslash, = or control character")
    return PersonName(name if "^" in name else f"{name}^")  # highdicom takes one component for a mistake


def _write(
    segments: Sequence[_Segment],
    masks: NDArray[np.bool_],
    grid: Volume,
    source_images: Sequence[Dataset],
    target: _Target,
    author: _Author,
) -> hd.seg.Segmentation:
    """Write ``masks`` (N, I, J, K), one for each segment, that lie on ``grid``."""
    if grid.frame_of_reference_uid is None:
        raise ValueError("labels.frame_of_reference_uid is None; outputs need one: generate it for the study")
    sources = [complete_source(ds, grid.frame_of_reference_uid) for ds in source_images]
    volume = grid.to_highdicom().with_array(
        np.ascontiguousarray(masks.transpose(3, 2, 1, 0)).astype(np.uint8),
        channels={"SegmentNumber": list(range(1, len(segments) + 1))},
    )
    empty = not masks.any()
    if empty:
        middle = grid.shape[2] // 2
        volume = volume[middle : middle + 1]
    contributors = [author.model.contributing_equipment("Segmentation of brain tumor")] if author.model else []
    seg = hd.seg.Segmentation(
        source_images=[without_name(sources[0]), *sources[1:]],
        pixel_array=volume,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _describe(number, segment, sources[0].StudyInstanceUID, author)
            for number, segment in enumerate(segments, start=1)
        ],
        content_label="TUMOR",
        content_description=author.description,
        content_creator_name=author.creator,
        omit_empty_frames=not empty,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **object_arguments(target.series_uid, target.series_number, target.description, author.equipment, contributors),
    )
    if grid.source_frames is not None and "PerFrameFunctionalGroupsSequence" in sources[0]:
        _refer_to(seg, {frame + 1 for frame in grid.source_frames})
    if author.limits:
        seg.ImageComments = author.limits
    save_object(seg, sources[0], target.path)
    return seg


def _refer_to(seg: hd.seg.Segmentation, frames: set[int]) -> None:
    """Leave out references to frames of other volumes of the multi-frame source, which lie at the same positions."""
    for group in seg.PerFrameFunctionalGroupsSequence:
        for derivation in group.get("DerivationImageSequence", ()):
            items = derivation.SourceImageSequence
            kept = [item for item in items if set(np.atleast_1d(item.get("ReferencedFrameNumber", []))) <= frames]
            derivation.SourceImageSequence = kept


def tracking_uid(study_uid: str, name: str) -> hd.UID:
    """The Tracking UID of a finding of a study.

    One finding has one UID on every grid and in the report, and after the study is processed again.
    """
    return hd.UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{study_uid}/{name}")))


def concept(code: anatomy.Code) -> Code:
    """A code of ``acuity.anatomy`` as pydicom's."""
    return Code(code.value, code.scheme, code.meaning)


def _segment_masks(labels: NDArray[np.integer], segments: Sequence[SegmentSpec]) -> NDArray[np.bool_]:
    """(N, I, J, K): the exclusive segments in their order."""
    _check_labels(labels)
    return np.stack([labels == spec.label for spec in segments])


def _described(segments: Sequence[SegmentSpec]) -> list[_Segment]:
    return [_Segment(s.name, s.category, s.type, s.color) for s in segments]


def _check_labels(labels: NDArray[np.integer]) -> None:
    unknown = np.setdiff1d(labels, [int(label) for label in Label])
    if unknown.size:
        raise ValueError(f"labels holds the values {unknown.tolist()}; only 0, 1, 2 and 4 are defined")


def _by_model(model: ModelInfo, assessment: Assessment) -> _Author:
    automatic = hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
    return _Author(model.equipment, NOT_FOR_PRIMARY_DIAGNOSIS, None, automatic, model, assessment.note())


def _describe(number: int, segment: _Segment, study_uid: str, author: _Author) -> hd.seg.SegmentDescription:
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=concept(segment.category),
        segmented_property_type=concept(segment.type),
        algorithm_type=author.algorithm_type,
        algorithm_identification=author.model and author.model.algorithm_identification(),
        tracking_uid=tracking_uid(study_uid, segment.name),
        tracking_id=segment.name,
        anatomic_regions=[concept(BRAIN)],
        display_color=hd.color.CIELabColor.from_rgb(*segment.color),
    )
    if author.limits:
        description.SegmentDescription = author.limits
    return description
