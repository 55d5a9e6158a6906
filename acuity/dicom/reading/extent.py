"""Whether a file ends where its pixel data does: neither cut short nor with bytes too many."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from pydicom import Dataset

from acuity.dicom.reading.structure import UNDEFINED, Walk

# Behind the pixels there may be padding, signatures and private elements.
MAX_BYTES_BEHIND = 16 << 20

_PIXEL_DATA = 0x7FE00010
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


def pixels_complete(stream: BinaryIO, ds: Dataset, *, explicit: bool, order: str) -> bool:
    """Whether the pixel data that ``stream`` stands before is as long as its header says, and only elements follow.

    Bytes that were inserted into native pixels shift the rest of the image and push its end out of the element, where
    no reader looks for it. Compressed pixels are no larger than twice the image. True where it is no image.
    """
    if "Rows" not in ds:
        return True
    walk = Walk(stream, explicit=explicit, order=order)
    header = walk.header()
    if header is None or header[0] != _PIXEL_DATA:
        return False
    native = native_length(ds)
    if header[2] != UNDEFINED:
        if native and header[2] != native + native % 2:
            return False
        stream.seek(header[2], os.SEEK_CUR)
    else:
        start = stream.tell()
        if not _skip_items(stream) or (native and stream.tell() - start > 2 * native + MAX_BYTES_BEHIND):
            return False
    return only_elements_follow(walk)


def _skip_items(stream: BinaryIO) -> bool:
    """Skip the fragments of encapsulated pixel data; False where they are cut short."""
    while (item := stream.read(8))[:4] == _ITEM and len(item) == 8:
        stream.seek(struct.unpack("<I", item[4:])[0], os.SEEK_CUR)
    return item[:4] == _SEQUENCE_END


def only_elements_follow(walk: Walk) -> bool:
    """Whether elements of rising tags, such as padding and signatures, fill the rest of the file, and not for long."""
    stream, last = walk.stream, _PIXEL_DATA
    if walk.size - stream.tell() > MAX_BYTES_BEHIND:
        return False
    while stream.tell() < walk.size:
        header = walk.header()
        if header is None or header[0] <= last:
            return False
        if header[2] == UNDEFINED:
            return True  # a sequence; its end can only be found by parsing it
        last = header[0]
        stream.seek(header[2], os.SEEK_CUR)
    return stream.tell() == walk.size


def native_length(ds: Dataset) -> int:
    """Bytes of all frames without compression; 0 where the header does not tell."""
    try:
        frames = int(ds.get("NumberOfFrames") or 1)
        bits = ds.Rows * ds.Columns * ds.BitsAllocated * ds.get("SamplesPerPixel", 1) * frames
    except Exception:  # judged where the geometry is read, with a better message
        return 0
    return max(0, int(bits) + 7) // 8
