"""DICOM objects of strangers for the archive: what can be told of one by itself, at a bounded cost."""

from __future__ import annotations

import math
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from typing import BinaryIO, cast

from pydicom import Dataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedSRStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from acuity.dicom.reading.extent import pixels_complete
from acuity.dicom.reading.files import MR_CLASSES
from workbench.bounded_dicom import find_syntax, read_header
from workbench.refusal import Refusal

MOST_BYTES = 512 << 20
"""Of an object, as it is sent and once it is unpacked."""
_MOST_PIXELS = 1 << 30  # bytes of an image without compression
_CLASSES = {
    *MR_CLASSES,
    SegmentationStorage,
    SecondaryCaptureImageStorage,
    EnhancedSRStorage,
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
}
_UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
# What pydicom raises on values that it converts when they are read.
_FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)


def refused(code: str, found: str, rule: str, remedy: str = "Leave it out.", *, status: int = 422) -> Refusal:
    """An object that does not come in."""
    return Refusal(status, code, found, rule, remedy)


def checked_header(file: BinaryIO) -> Dataset:
    """The header of an object, once it is known to be one that Acuity reads or writes.

    Parameters
    ----------
    file : the whole object in the file format (PS3.10), a file of the operating system

    Raises
    ------
    Refusal
        For what is no DICOM file, cannot be read within bounds, or is of a class, an identity or a size that does
        not come in.
    """
    with _readable(), _inflated(file) as whole, mmap(whole.fileno(), 0, access=ACCESS_READ) as content:
        ds, end = read_header(content)
        _check_class(ds)
        _check_identity(ds)
        if ds.SOPClassUID in (*MR_CLASSES, SecondaryCaptureImageStorage, SegmentationStorage):
            _check_pixels(ds, whole, end)
        elif end != len(content):
            raise refused("pixels", "A document with pixels.", "Reports have none.")
    return ds


def text_of(ds: Dataset, keyword: str) -> str:
    """A value as a text to compare: names end in different ways."""
    return str(ds.get(keyword) or "").strip("^= ")


@contextmanager
def _readable() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's remarks on values quote them, and values identify patients
            yield
    except _FAULTS as error:
        what = str(error) if type(error) is ValueError and str(error).startswith(("a ", "an ", "no ")) else ""
        found = f"A file that cannot be read ({what or type(error).__name__})."
        rule = "Each is one object in the DICOM file format (PS3.10), whole, and of a bounded size."
        raise refused("unreadable", found, rule, "Export it again.") from error


@contextmanager
def _inflated(file: BinaryIO) -> Iterator[BinaryIO]:
    """The object without deflation, in a file that goes with the context; the same file where it is not deflated."""
    file.seek(0)
    head = file.read(4096)
    if head[128:132] != b"DICM":
        raise ValueError("no DICOM file")
    place, start = find_syntax(head)
    if head[place].rstrip(b"\0 ") != DeflatedExplicitVRLittleEndian.encode():
        yield file
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with tempfile.TemporaryFile() as whole:
        whole.write(head[: place.start] + ExplicitVRLittleEndian.encode().ljust(place.stop - place.start, b"\0"))
        whole.write(head[place.stop : start])
        file.seek(start)
        while not inflater.eof:
            part = inflater.unconsumed_tail or file.read(1 << 20)
            if not part or whole.tell() > MOST_BYTES:
                raise ValueError("a deflated object that is cut short or too large")
            try:
                whole.write(inflater.decompress(part, 1 << 20))
            except zlib.error as error:
                raise ValueError("a deflated object that is not valid") from error
        whole.flush()
        yield cast(BinaryIO, whole)


def _check_class(ds: Dataset) -> None:
    if UID(str(ds.get("SOPClassUID") or "")) not in _CLASSES:
        rule = "MR images, segmentations, reports and secondary captures come in: what Acuity reads and writes."
        raise refused("class", "An object of another class.", rule)


def _check_identity(ds: Dataset) -> None:
    for keyword in _UIDS:
        value = str(ds.get(keyword) or "")
        if not UID(value).is_valid and (value or keyword != "FrameOfReferenceUID"):
            raise refused("uid", f"{keyword} is absent or no UID.", "UIDs are digits and dots (PS3.5 section 9.1).")
    named = ds.file_meta.get("MediaStorageSOPInstanceUID"), ds.file_meta.get("MediaStorageSOPClassUID")
    if named != (ds.SOPInstanceUID, ds.SOPClassUID):
        raise refused("uid", "The file names another object than its dataset does.", "Both name one (PS3.10).")
    for keyword in PATIENT:
        if keyword in ds and (ds[keyword].VM > 1 or not text_of(ds, keyword).isprintable()):
            raise refused("patient", f"{keyword} cannot be read.", "It is one text.", "Correct it at its source.")


def _check_pixels(ds: Dataset, whole: BinaryIO, end: int) -> None:
    count = math.prod(int(ds[name].value) for name in ("Rows", "Columns", "BitsAllocated"))
    count *= int(ds.get("SamplesPerPixel") or 1) * int(ds.get("NumberOfFrames") or 1)
    if not 0 < count <= 8 * _MOST_PIXELS:
        rule = f"An image has at most {_MOST_PIXELS >> 20} MiB without compression."
        raise refused("size", "An image without a size, or one that is too large.", rule)
    whole.seek(end)
    syntax = ds.file_meta.TransferSyntaxUID
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    if not pixels_complete(whole, ds, explicit=syntax != ImplicitVRLittleEndian, order=order):
        rule = "An image's pixels are as long as its header says."
        raise refused("pixels", "An image whose pixels are absent, cut short or too long.", rule, "Export it again.")
