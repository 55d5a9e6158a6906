"""Tumour labels written as DICOM Segmentation objects."""

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

from acuity import anatomy
from acuity.anatomy import (
    BRAIN,
    MORPHOLOGY,
    REGION_COLORS,
    REGION_NAMES,
    REGION_TYPES,
    SEGMENTS,
    Label,
    Region,
    labels_to_regions,
)
from acuity.dicom.model_info import NOT_FOR_PRIMARY_DIAGNOSIS, ModelInfo
from acuity.dicom.source import complete_source, take_patient_and_study, without_name
from acuity.volume import Volume


class _Segment(NamedTuple):
    """What a Segment Description says of one segment (PS3.3 C.8.20.4)."""

    name: str
    category: anatomy.Code
    type: anatomy.Code
    color: tuple[int, int, int]


_LABELS = tuple(_Segment(s.name, s.category, s.type, s.color) for s in SEGMENTS)
_REGIONS = tuple(_Segment(REGION_NAMES[r], MORPHOLOGY, REGION_TYPES[r], REGION_COLORS[r]) for r in Region)


def write_segmentation(
    labels: Volume,
    source_images: Sequence[Dataset],
    path: Path,
    *,
    series_uid: str,
    series_number: int,
    description: str,
    model: ModelInfo,
) -> hd.seg.Segmentation:
    """Write tumour labels as a BINARY Segmentation (PS3.3 A.51), Explicit VR Little Endian.

    Segments 1..3 are those of ``acuity.anatomy.SEGMENTS``: they exclude one another, so that viewers
    show them without overlap and an annotator corrects each voxel once. All three are described also
    when one of them is empty. Frames without a voxel of their segment are left out; where no tumour was
    found at all, one empty frame a segment remains (the middle slice), because an image has at least
    one frame.

    Parameters
    ----------
    labels : uint8 (I, J, K) of 0, 1, 2 and 4 with its affine in LPS mm and a frame of reference
    source_images : the images that viewers overlay the labels on, headers suffice: one series of
        single-frame images, or one multi-frame image; the labels' grid may differ from theirs
    path : the file to write; its folder is created if absent
    series_uid, series_number : of the new series
    description : Series Description, 64 characters at most
    model : what computed the labels

    Raises
    ------
    ValueError
        When ``labels`` holds another value, has no frame of reference, or one that is not its source's.
    """
    _check_labels(labels.array)
    masks = np.stack([labels.array == spec.label for spec in SEGMENTS])
    return _write(_LABELS, masks, labels, source_images, path, series_uid, series_number, description, model)


def write_regions(
    labels: Volume,
    source_images: Sequence[Dataset],
    path: Path,
    *,
    series_uid: str,
    series_number: int,
    description: str,
    model: ModelInfo,
) -> hd.seg.Segmentation:
    """Write ET, TC and WT as the overlapping segments 1..3 of a BINARY Segmentation of their own.

    The measurement report refers to it. A measurement group of TID 1411 names one segment; TC and WT are
    unions of the exclusive segments of ``write_segmentation``, and a reference to several segments is read
    by dcmqi as one to the first only. As further segments of that other object they would cover what
    an annotator corrects.

    Parameters and errors are those of ``write_segmentation``.
    """
    _check_labels(labels.array)
    masks = labels_to_regions(labels.array)
    return _write(_REGIONS, masks, labels, source_images, path, series_uid, series_number, description, model)


def _write(
    segments: Sequence[_Segment],
    masks: NDArray[np.bool_],
    grid: Volume,
    source_images: Sequence[Dataset],
    path: Path,
    series_uid: str,
    series_number: int,
    description: str,
    model: ModelInfo,
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
    seg = hd.seg.Segmentation(
        source_images=[without_name(sources[0]), *sources[1:]],
        pixel_array=volume,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _describe(number, segment, sources[0].StudyInstanceUID, model)
            for number, segment in enumerate(segments, start=1)
        ],
        series_instance_uid=series_uid,
        series_number=series_number,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        **model.equipment,
        content_label="TUMOR",
        content_description=NOT_FOR_PRIMARY_DIAGNOSIS,
        series_description=description,
        omit_empty_frames=not empty,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set=None,
        contributing_equipment=[model.contributing_equipment("Segmentation of brain tumor")],
    )
    take_patient_and_study(seg, sources[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path, enforce_file_format=True)
    return seg


def tracking_uid(study_uid: str, name: str) -> hd.UID:
    """The Tracking UID of a finding of a study.

    One finding has one UID on every grid and in the report, and after the study is processed again.
    """
    return hd.UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{study_uid}/{name}")))


def concept(code: anatomy.Code) -> Code:
    """A code of ``acuity.anatomy`` as pydicom's."""
    return Code(code.value, code.scheme, code.meaning)


def _check_labels(labels: NDArray[np.integer]) -> None:
    unknown = np.setdiff1d(labels, [int(label) for label in Label])
    if unknown.size:
        raise ValueError(f"labels holds the values {unknown.tolist()}; only 0, 1, 2 and 4 are defined")


def _describe(number: int, segment: _Segment, study_uid: str, model: ModelInfo) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=concept(segment.category),
        segmented_property_type=concept(segment.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=model.algorithm_identification(),
        tracking_uid=tracking_uid(study_uid, segment.name),
        tracking_id=segment.name,
        anatomic_regions=[concept(BRAIN)],
        display_color=hd.color.CIELabColor.from_rgb(*segment.color),
    )
