"""What a header's bytes claim, checked before anything is made of them: a few bytes can claim gigabytes.

A header is walked element by element, without values. It is refused where it has more elements, deeper sequences or
more bytes than any image, a length that leads out of the file, or one tag twice, of which nobody knows which counts.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import BinaryIO

from pydicom.datadict import dictionary_VR
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

# The largest headers are those of enhanced images of some ten thousand frames.
MAX_HEADER_BYTES, MAX_ELEMENTS, MAX_DEPTH = 64 << 20, 500_000, 32

UNDEFINED = 0xFFFFFFFF
PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_TRANSFER_SYNTAX = 0x00020010
# Value representations whose length follows two reserved bytes (PS3.5 section 7.1.2).
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")


class StructureError(ValueError):
    """No image has such a header; the text says what is wrong with it."""


class _MalformedError(StructureError):
    """The bytes are no elements."""


def skip_file_meta(stream: BinaryIO) -> str:
    """Read past preamble and file meta information (PS3.10 section 7.1), where there are any.

    Returns
    -------
    The transfer syntax; where none is stated, the native one that the first element shows.

    Raises
    ------
    StructureError : see the module
    """
    stream.seek(128)
    if stream.read(4) != b"DICM":
        stream.seek(0)
    walk = Walk(stream, explicit=True, order="<")
    syntax = ""
    while (header := walk.header()) is not None and header[0] >> 16 == 2:
        tag, _, length = header
        place = stream.tell()
        walk.check_length(length, walk.size)
        if tag == _TRANSFER_SYNTAX:
            syntax = stream.read(min(length, 64)).decode("ascii", "replace").strip("\0 ")
        stream.seek(place + length)
    if header is not None:
        stream.seek(walk.start)
    return syntax or _guess(stream)


def _guess(stream: BinaryIO) -> str:
    start = stream.read(6)
    stream.seek(-len(start), os.SEEK_CUR)
    if not _is_vr(start[4:6]):
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if start[1:2] > start[0:1] else ExplicitVRLittleEndian


def _is_vr(code: bytes) -> bool:
    return len(code) == 2 and code.isalpha() and code.isupper()


def check_header(stream: BinaryIO, syntax: str) -> Walk:
    """Walk from the first element of a dataset to its pixels, before which ``stream`` stands afterwards, or to its end.

    Raises
    ------
    StructureError : see the module
    """
    walk = Walk(stream, explicit=syntax != ImplicitVRLittleEndian, order=">" if syntax == ExplicitVRBigEndian else "<")
    walk.dataset(walk.size, depth=0)
    return walk


class Walk:
    """A walk over elements; ``elements`` counts them, ``start`` is where the last one begins."""

    def __init__(self, stream: BinaryIO, *, explicit: bool, order: str) -> None:
        self.stream = stream
        self.explicit = explicit
        self.elements = 0
        self.start = stream.tell()
        self._order = order
        self._first = self.start
        stream.seek(0, os.SEEK_END)
        self.size = stream.tell()
        stream.seek(self.start)

    def header(self) -> tuple[int, bytes, int] | None:
        """Tag, value representation (empty if implicit) and length of the next element; None where there is none."""
        self.start = self.stream.tell()
        head = self.stream.read(8)
        if len(head) < 8:
            return None
        group, number, short = struct.unpack(self._order + "HH2xH", head)
        tag, vr = group << 16 | number, head[4:6]
        if not self.explicit or not _is_vr(vr) or group == 0xFFFE:
            return tag, b"", struct.unpack(self._order + "I", head[4:])[0]
        if vr not in _LONG:
            return tag, vr, short
        long = self.stream.read(4)
        return None if len(long) < 4 else (tag, vr, struct.unpack(self._order + "I", long)[0])

    def check_length(self, length: int, end: int) -> None:
        """Refuse a value that does not end before ``end``."""
        if length == UNDEFINED or self.stream.tell() + length > end:
            raise _MalformedError("an element is longer than the file")

    def dataset(self, end: int, depth: int) -> None:
        """Walk the elements up to ``end``, the end of an item, or the pixels of the image."""
        if depth > MAX_DEPTH:
            raise StructureError("sequences in sequences without end")
        seen = set()
        while self.stream.tell() < end and (header := self.header()) is not None:
            tag, vr, length = header
            if tag == _ITEM_END:
                return
            self._count()
            if depth == 0 and tag in PIXEL_TAGS:
                self.stream.seek(self.start)
                return
            if tag in seen:
                raise StructureError("an element is there twice")
            seen.add(tag)
            if length == UNDEFINED:
                self._items(end, depth + 1)
                continue
            self.check_length(length, end)
            after = self.stream.tell() + length
            if length and _is_sequence(tag, vr):
                with suppress(_MalformedError):  # only where its items are asked for
                    self._items(after, depth + 1)
            self.stream.seek(after)

    def _items(self, end: int, depth: int) -> None:
        explicit = self.explicit
        while self.stream.tell() < end:
            self.explicit = False  # items have no value representation
            header = self.header()
            if header is None or header[0] == _SEQUENCE_END:
                break
            tag, _, length = header
            if tag != _ITEM:
                self.explicit = explicit
                raise _MalformedError("a sequence holds what is no item")
            self._count()
            last = end if length == UNDEFINED else min(end, self.stream.tell() + length)
            start = self.stream.read(6)
            self.stream.seek(-len(start), os.SEEK_CUR)
            self.explicit = explicit and _is_vr(start[4:6])  # items of type UN are implicit (PS3.5 section 6.2.2)
            self.dataset(last, depth)
        self.explicit = explicit

    def _count(self) -> None:
        self.elements += 1
        if self.elements > MAX_ELEMENTS or self.start - self._first > MAX_HEADER_BYTES:
            raise StructureError("a header larger than that of any image")


def _is_sequence(tag: int, vr: bytes) -> bool:
    if vr:
        return vr == b"SQ"
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False
