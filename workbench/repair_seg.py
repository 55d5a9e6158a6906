"""Segmentations that OHIF 3.13 saved, given back what it loses: bits, references, codes, colors, the annotator."""

from __future__ import annotations

from datetime import datetime

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes

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


def repair_algorithms(ds: Dataset) -> None:
    """What a person has saved is that person's, whatever computed the mask that was corrected (PS3.3 C.8.20.2)."""
    for item in ds.SegmentSequence:
        named = item.get("SegmentAlgorithmType") == "AUTOMATIC" and item.get("SegmentAlgorithmName")
        item.SegmentAlgorithmType = "SEMIAUTOMATIC" if named else "MANUAL"
        if not named:
            for keyword in ("SegmentAlgorithmName", "SegmentationAlgorithmIdentificationSequence"):
                item.pop(keyword, None)  # OHIF names its brush, which is no algorithm


def repair_bits(ds: Dataset) -> None:
    """Pack the frames of one bit a voxel without gaps between them (PS3.5 section 8.1.1).

    OHIF begins each frame at a byte of its own. That is the same where rows x columns is a multiple of eight;
    elsewhere every other reader would find the segments sheared into pieces.

    Raises
    ------
    ValueError
        Where the pixel data is neither packed so nor as the standard says.
    """
    frames, pixels = int(ds.get("NumberOfFrames", 1)), int(ds.Rows) * int(ds.Columns)
    if ds.BitsAllocated != 1 or ds.file_meta.TransferSyntaxUID.is_compressed:
        return
    by_frame, whole = frames * _bytes(pixels), _bytes(frames * pixels)
    length = len(ds.PixelData)
    # Lengths can agree where contents do not; then who wrote it decides.
    from_ohif = str(ds.file_meta.get("ImplementationVersionName", "")).startswith("OHIF")
    if length == whole + whole % 2 and not (from_ohif and length == by_frame + by_frame % 2):
        return
    if length not in (by_frame, by_frame + by_frame % 2):
        raise ValueError(f"the pixel data has {length} bytes, and {frames} frames of {pixels} bits need {whole}")
    packed = np.frombuffer(ds.PixelData, np.uint8, by_frame).reshape(frames, -1)
    repaired = bytearray()
    for first in range(0, frames, 8):  # eight frames end with a byte; all at once would take eight times the memory
        bits = np.unpackbits(packed[first : first + 8], axis=1, bitorder="little")[:, :pixels]
        repaired += np.packbits(bits, bitorder="little").tobytes()
    ds.PixelData = bytes(repaired) + b"\0" * (len(repaired) % 2)


def repair_references(ds: Dataset) -> None:
    """Say of each frame which image it was drawn on and to what end (Derivation Image Macro, PS3.3 C.7.6.16.2.6).

    OHIF leaves out the class of the image and the two codes, and names a frame of images that have only one.
    """
    classes = {
        str(image.ReferencedSOPInstanceUID): image.ReferencedSOPClassUID
        for series in ds.get("ReferencedSeriesSequence", ())
        for image in series.ReferencedInstanceSequence
    }
    for group in ds.get("PerFrameFunctionalGroupsSequence", ()):
        for derivation in group.get("DerivationImageSequence", ()):
            derivation.DerivationCodeSequence = [hd.sr.CodedConcept.from_code(codes.DCM.Segmentation)]
            for image in derivation.get("SourceImageSequence", ()):
                known = classes.get(str(image.ReferencedSOPInstanceUID))
                if known is not None:
                    image.ReferencedSOPClassUID = known
                if not hd.UID(image.ReferencedSOPClassUID).name.startswith("Enhanced"):
                    image.pop("ReferencedFrameNumber", None)
                purpose = codes.DCM.SourceImageForImageProcessingOperation
                image.PurposeOfReferenceCodeSequence = [hd.sr.CodedConcept.from_code(purpose)]


def _bytes(bits: int) -> int:
    return -(-bits // 8)
