"""Whether a file ends where its pixel data does: neither cut short nor with bytes too many."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_PIXEL_DATA = (0x7FE0, 0x0010)
# Value representations whose length follows two reserved bytes (PS3.5 section 7.1.2).
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")


def pixels_complete(stream: BinaryIO, ds: Dataset) -> bool:
    """Whether the pixel data that ``stream`` stands before is as long as its header says, and only elements follow.

    Bytes that were inserted into native pixels shift the rest of the image and push its end out of the element, where
    no reader looks for it. True where it cannot be told.
    """
    syntax = ds.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
    if "Rows" not in ds or syntax == DeflatedExplicitVRLittleEndian:
        return True  # no image, or the position is lost in inflating
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    header = _element(stream, order)
    if header is None or header[0] != _PIXEL_DATA:
        return False
    if header[1] != _UNDEFINED:
        native = _native_length(ds)
        if native and header[1] != native + native % 2:
            return False
        stream.seek(header[1], os.SEEK_CUR)
    elif not _skip_items(stream):
        return False
    return _only_elements_follow(stream, order)


def _element(stream: BinaryIO, order: str) -> tuple[tuple[int, int], int] | None:
    """Tag and length of the element at the stream's position; None where there is no whole header."""
    header = stream.read(8)
    if len(header) < 8:
        return None
    group, element = struct.unpack(order + "HH", header[:4])
    if header[4:6] in _LONG and header[6:8] == b"\0\0":
        rest = stream.read(4)
        return None if len(rest) < 4 else ((group, element), struct.unpack(order + "I", rest)[0])
    explicit = header[4:6].isalpha() and header[4:6].isupper()
    length = struct.unpack(order + "H", header[6:])[0] if explicit else struct.unpack(order + "I", header[4:])[0]
    return (group, element), length


def _skip_items(stream: BinaryIO) -> bool:
    """Skip the fragments of encapsulated pixel data; False where they are cut short."""
    while (item := stream.read(8))[:4] == _ITEM and len(item) == 8:
        stream.seek(struct.unpack("<I", item[4:])[0], os.SEEK_CUR)
    return item[:4] == _SEQUENCE_END


def _only_elements_follow(stream: BinaryIO, order: str) -> bool:
    """Whether elements of rising tags, such as padding and signatures, fill the rest of the file."""
    size = os.fstat(stream.fileno()).st_size
    last = _PIXEL_DATA
    while stream.tell() < size:
        header = _element(stream, order)
        if header is None or header[0] <= last:
            return False
        if header[1] == _UNDEFINED:
            return True  # a sequence; its end can only be found by parsing it
        last = header[0]
        stream.seek(header[1], os.SEEK_CUR)
    return stream.tell() == size


def _native_length(ds: Dataset) -> int:
    """Bytes of all frames without compression; 0 where the header does not tell."""
    try:
        frames = int(ds.get("NumberOfFrames") or 1)
        bits = ds.Rows * ds.Columns * ds.BitsAllocated * ds.get("SamplesPerPixel", 1) * frames
    except Exception:  # judged where the geometry is read, with a better message
        return 0
    return (int(bits) + 7) // 8
