"""What a viewer stores: corrected segmentations only, made whole before the archive takes them.

OHIF's export keeps of each segment its label only, and names nobody.
"""

from __future__ import annotations

from email.message import Message
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import SegmentationStorage
from requests_toolbelt.multipart.decoder import (
    ImproperBodyPartContentException,
    MultipartDecoder,
    NonMultipartContentTypeException,
)

from acuity.errors import UnsupportedSeriesError
from workbench.multipart import related
from workbench.refusal import Refusal
from workbench.repair_ohif import repair_bits, repair_references
from workbench.repair_seg import repair_segmentation


def repair_stored(body: bytes, content_type: str, creator: str) -> tuple[bytes, str]:
    """The body of a STOW-RS request (PS3.18 section 10.5) with each segmentation in it repaired.

    Parameters
    ----------
    content_type : of the body, with its boundary
    creator : the annotator's name, for Content Creator's Name

    Returns
    -------
    tuple
        Another body and its content type.

    Raises
    ------
    Refusal
        For a body that is no such request, and for an object that is no segmentation of Acuity's segments: viewers
        store nothing else.
    """
    kind = Message()
    kind["content-type"] = content_type
    if kind.get_content_type() != "multipart/related" or kind.get_param("type") != "application/dicom":
        raise _unfit("A body of another type.", 'It is multipart/related with type="application/dicom".', status=415)
    try:
        parts = MultipartDecoder(body, content_type).parts
        found = [dcmread(BytesIO(part.content)) for part in parts]
        for ds in found:
            repair(ds, creator)
        encoded = [_encoded(ds) for ds in found]
    except (ImproperBodyPartContentException, NonMultipartContentTypeException, InvalidDicomError) as error:
        raise _unfit("A body that is no DICOM objects.", "Each part is one object in the file format.") from error
    except (AttributeError, EOFError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise _unfit("A DICOM object that cannot be read.", "It must be as PS3.3 and PS3.5 say.") from error
    return related(encoded, "application/dicom")


def repair(ds: Dataset, creator: str) -> None:
    """Make a corrected segmentation whole: voxels and UIDs stay as they are.

    Raises
    ------
    Refusal
        Where it is no BINARY segmentation, or has a segment that Acuity does not know.
    ValueError
        Where its bits are packed in no known way.
    """
    if ds.get("SOPClassUID") != SegmentationStorage or ds.get("SegmentationType") != "BINARY":
        raise _unfit("An object that is no binary segmentation.", "Viewers store corrected segmentations only.")
    if "ContentCreatorName" in ds:
        del ds.ContentCreatorName  # who saves is known from the login, not from what a viewer says
    try:
        repair_segmentation(ds, creator)
    except UnsupportedSeriesError as error:
        raise _unfit("A segmentation with other segments.", error.rule) from error
    repair_bits(ds)
    repair_references(ds)
    for item in ds.SegmentSequence:
        # What a person has saved is that person's, whatever computed the mask that was corrected (PS3.3 C.8.20.2).
        named = item.get("SegmentAlgorithmType") == "AUTOMATIC" and item.get("SegmentAlgorithmName")
        item.SegmentAlgorithmType = "SEMIAUTOMATIC" if named else "MANUAL"
        if not named:
            for keyword in ("SegmentAlgorithmName", "SegmentationAlgorithmIdentificationSequence"):
                item.pop(keyword, None)  # OHIF names its brush, which is no algorithm


def _encoded(ds: Dataset) -> bytes:
    target = BytesIO()
    ds.save_as(target, enforce_file_format=True)
    return target.getvalue()


def _unfit(found: str, rule: str, *, status: int = 422) -> Refusal:
    return Refusal(
        status, "not-stored", found, rule=rule, remedy="Correct the segmentation in the viewer and save it again."
    )
