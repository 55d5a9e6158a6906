"""Segmentations that a viewer saved, given back what the viewer lost: codes, colors, the annotator."""

from __future__ import annotations

from datetime import datetime

import highdicom as hd
from pydicom import Dataset

from acuity.anatomy import BRAIN, SEGMENTS
from acuity.dicom.reading.read_seg import segment_labels
from acuity.dicom.writing.segmentation import concept, person_name, tracking_uid


def repair_segmentation(ds: Dataset, annotator: str = "") -> None:
    """Set what ``acuity.anatomy.SEGMENTS`` says of each segment, told by its Segment Label; pixels stay as they are.

    To be called before an archive takes the object: an object in an archive never changes under its UID. The object's
    creation becomes now: browsers' clocks differ, and OHIF's dcmjs writes universal time as if it were local, so that
    its objects would seem older than those they follow.

    Parameters
    ----------
    ds : a Segmentation, changed in place; its segments keep their numbers, names and algorithm types
    annotator : Content Creator's Name where the viewer gave none; "" leaves it

    Raises
    ------
    UnsupportedSeriesError
        When it is no Segmentation, or a segment has a name that is not Acuity's; ``ds`` is then as it was.
    ValueError
        When ``annotator`` is no valid name.
    """
    labels = segment_labels(ds)
    creator = person_name(annotator)
    specs = {spec.label: spec for spec in SEGMENTS}
    for item in ds.SegmentSequence:
        label = labels.get(int(item.SegmentNumber))
        if label is None:  # the background of a label map
            continue
        spec = specs[label]
        item.SegmentLabel = spec.name
        item.SegmentedPropertyCategoryCodeSequence = [hd.sr.CodedConcept.from_code(concept(spec.category))]
        item.SegmentedPropertyTypeCodeSequence = [hd.sr.CodedConcept.from_code(concept(spec.type))]
        item.AnatomicRegionSequence = [hd.sr.CodedConcept.from_code(concept(BRAIN))]
        item.RecommendedDisplayCIELabValue = list(hd.color.CIELabColor.from_rgb(*spec.color).value)
        item.TrackingID, item.TrackingUID = spec.name, tracking_uid(str(ds.StudyInstanceUID), spec.name)
    now = datetime.now()
    ds.InstanceCreationDate, ds.InstanceCreationTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    if creator is not None and not ds.get("ContentCreatorName"):
        ds.ContentCreatorName = creator
