"""The header of one DICOM file, read only after its bytes were found to be those of an image."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from acuity.dicom.reading.extent import MAX_BYTES_BEHIND, native_length, only_elements_follow, pixels_complete
from acuity.dicom.reading.headers import uid_text
from acuity.dicom.reading.structure import (
    MAX_HEADER_BYTES,
    PIXEL_TAGS,
    StructureError,
    Walk,
    check_header,
    skip_file_meta,
)

# Of a deflated file, which has to be inflated as a whole.
MAX_DEFLATED_PIXEL_BYTES = 1 << 30
_SERIES_UID = 0x0020000E
_BEHIND_SERIES_UID = (0x00200010, 0x00200011, 0x00200012, 0x00200013)  # numbers of study to image
_START = 1 << 16  # bytes, in which the series UID is found
_CHUNK = 1 << 20


@dataclass(frozen=True)
class FileHeader:
    """A header without pixels.

    Parameters
    ----------
    complete : the pixel data is as long as the header says, and only elements follow it
    elements, size : of the header, its size in bytes
    """

    dataset: Dataset
    complete: bool
    elements: int
    size: int


def read_header(stream: BinaryIO, path: Path, *, bare: bool) -> FileHeader:
    """Read a header and look whether the file ends where it should.

    Parameters
    ----------
    stream : the file at ``path``
    bare : it has no preamble

    Raises
    ------
    StructureError : no image has such a header
    Exception : pydicom raises in many ways
    """
    syntax = skip_file_meta(stream)
    if syntax == DeflatedExplicitVRLittleEndian:
        return _read_deflated(stream, path)
    start = stream.tell()
    walk = check_header(stream, syntax)
    size = stream.tell() - start
    stream.seek(0)
    ds = dcmread(stream, stop_before_pixels=True, force=bare)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    complete = pixels_complete(stream, ds, explicit=syntax != ImplicitVRLittleEndian, order=order)
    return FileHeader(ds, complete, walk.elements, size)


def series_of_damaged(stream: BinaryIO) -> str | None:
    """The series UID of a file that cannot be read in full, where it and an element behind it can be."""
    stream.seek(0)
    start = BytesIO(stream.read(_START))
    try:
        ds = dcmread(start, stop_before_pixels=True, specific_tags=[_SERIES_UID, *_BEHIND_SERIES_UID])
        whole = any(tag in ds for tag in _BEHIND_SERIES_UID)
        return uid_text(ds, "SeriesInstanceUID") or None if whole else None
    except Exception:  # damaged before it
        return None


def _read_deflated(stream: BinaryIO, path: Path) -> FileHeader:
    """The header of a dataset that was deflated behind its file meta information (PS3.5 section A.5)."""
    inflating = _Inflating(stream)
    plain = BytesIO(inflating.read(MAX_HEADER_BYTES))
    walk = check_header(plain, DeflatedExplicitVRLittleEndian)
    size = plain.tell()
    plain.seek(0)
    elements = read_dataset(plain, False, True, stop_when=lambda tag, vr, length: tag in PIXEL_TAGS)
    ds = FileDataset(str(path), elements, None, read_file_meta_info(path), is_implicit_VR=False)
    ds.set_original_encoding(False, True, elements._character_set)
    plain.seek(size)
    return FileHeader(ds, "Rows" not in ds or _deflated_complete(plain, inflating, ds), walk.elements, size)


def _deflated_complete(plain: BinaryIO, inflating: _Inflating, ds: Dataset) -> bool:
    """As ``pixels_complete``; ``plain`` stands before the pixels and holds the first bytes that were inflated."""
    header = Walk(plain, explicit=True, order="<").header()
    native = native_length(ds)
    length = native + native % 2
    if header is None or header[0] not in PIXEL_TAGS or header[2] != length or length > MAX_DEFLATED_PIXEL_BYTES:
        return False
    left = length - len(plain.read(length))
    while left > 0 and (piece := inflating.read(min(left, _CHUNK))):
        left -= len(piece)
    behind = plain.read() + inflating.read(MAX_BYTES_BEHIND)
    return left == 0 and inflating.ended and only_elements_follow(Walk(BytesIO(behind), explicit=True, order="<"))


class _Inflating:
    """Inflates a stream piece by piece: what is behind its limit may be gigabytes of zeros."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def ended(self) -> bool:
        """Whether all was read."""
        return self._inflater.eof

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes; fewer only at the end."""
        pieces = []
        while count > 0 and not self.ended:
            packed = self._inflater.unconsumed_tail or self._stream.read(_CHUNK)
            piece = self._inflater.decompress(packed, count)
            if not piece and not packed:
                raise StructureError("deflated data that ends early")
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)
