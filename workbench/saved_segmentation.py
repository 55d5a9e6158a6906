"""The segmentations that a viewer stores, checked and repaired before the archive takes them."""

from __future__ import annotations

from email.message import Message
from io import BytesIO

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import SegmentationStorage

from acuity.errors import UnsupportedSeriesError
from workbench import multipart
from workbench.refusal import Refusal
from workbench.repair_seg import repair_algorithms, repair_bits, repair_references, repair_segmentation


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
        For a body of another form, and for an object that is not a segmentation with Acuity's segments: viewers
        store nothing else.
    """
    kind = Message()
    kind["content-type"] = content_type
    if kind.get_content_type() != "multipart/related" or kind.get_param("type") != "application/dicom":
        raise _unfit("A body of another type.", 'It is multipart/related with type="application/dicom".', status=415)
    try:
        encoded = [_repaired(content, creator) for content in multipart.decode(body, content_type)]
    except (AttributeError, EOFError, InvalidDicomError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        rule = "Each part is one object in the file format, as PS3.3 and PS3.5 say."
        raise _unfit("A DICOM object that cannot be read.", rule) from error
    return multipart.encode(encoded, "application/dicom")


def _repaired(content: bytes, creator: str) -> bytes:
    """A corrected segmentation made whole; its voxels and UIDs stay as they are."""
    ds = dcmread(BytesIO(content))
    if ds.get("SOPClassUID") != SegmentationStorage or ds.get("SegmentationType") != "BINARY":
        raise _unfit("An object that is not a binary segmentation.", "Viewers store corrected segmentations only.")
    if "ContentCreatorName" in ds:
        del ds.ContentCreatorName  # who saves is known from the login, not from what a viewer says
    try:
        repair_segmentation(ds, creator)
    except UnsupportedSeriesError as error:
        raise _unfit("A segmentation with other segments.", error.rule) from error
    repair_bits(ds)
    repair_references(ds)
    repair_algorithms(ds)
    target = BytesIO()
    ds.save_as(target, enforce_file_format=True)
    return target.getvalue()


def _unfit(found: str, rule: str, *, status: int = 422) -> Refusal:
    return Refusal(status, "not-stored", found, rule, "Correct the segmentation in the viewer and save it again.")
