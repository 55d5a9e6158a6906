"""Reading DICOM objects of strangers: how much there is to read is counted before pydicom makes objects of it.

pydicom unpacks a deflated object as far as it goes, descends into sequences as deep as they are, and needs a kilobyte
or more for an element of eight bytes.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from mmap import mmap

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

MOST_BYTES = 64 << 20
"""Of an object once it is unpacked: a segmentation of three segments in 512 x 512 x 400 voxels takes 39 MiB."""
_MOST_ELEMENTS = 200_000  # and items of sequences; such a segmentation has about 40,000
_MOST_DEPTH = 12  # of sequences; a segmentation needs four
_MOST_VALUE = 1 << 20  # bytes of a value that is not the pixels

# Value representations by the size of their length (PS3.5 section 7.1.2).
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"}
_SHORT |= {b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
_TRANSFER_SYNTAX, _PIXEL_DATA = 0x00020010, 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF


def read_bounded(content: bytes) -> Dataset:
    """An object of the file format (PS3.10), uncompressed or deflated; it is uncompressed in the end.

    Raises
    ------
    ValueError
        For an object that is cut short, of another transfer syntax, or larger than the bounds of this module.
    """
    if content[128:132] != b"DICM":
        raise ValueError("no DICOM file")
    place, end = find_syntax(content)
    syntax = content[place].rstrip(b"\0 ").decode("ascii")
    if syntax == DeflatedExplicitVRLittleEndian:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            body = inflater.decompress(content[end:], MOST_BYTES)
        except zlib.error as error:
            raise ValueError("deflated data that is not valid") from error
        if not inflater.eof:
            raise ValueError("deflated data that is cut short or too large")
        name = ExplicitVRLittleEndian.encode().ljust(place.stop - place.start, b"\0")
        content = content[: place.start] + name + content[place.stop : end] + body
    elif syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        raise ValueError("a transfer syntax of compressed pixels")
    if len(content) > MOST_BYTES:
        raise ValueError("an object that is too large")
    _Walk(content).dataset(end, len(content), explicit=syntax != ImplicitVRLittleEndian)
    return dcmread(BytesIO(content))


def read_header(content: mmap | bytes) -> tuple[Dataset, int]:
    """The header of an object of the file format, whose pixels may be compressed, and where it ends.

    Pixels are only measured: ``acuity.dicom.reading.extent`` says whether they are complete.

    Parameters
    ----------
    content : of the file, not deflated

    Raises
    ------
    ValueError
        For a header that is cut short, deflated or big endian, or larger than the bounds of this module.
    """
    if content[128:132] != b"DICM":
        raise ValueError("no DICOM file")
    place, start = find_syntax(content)
    syntax = UID(content[place].rstrip(b"\0 ").decode("ascii"))
    if syntax.is_deflated or not syntax.is_little_endian:
        raise ValueError("a transfer syntax that is deflated or big endian")
    walk = _Walk(content, pixels=False)
    end = walk.dataset(start, len(content), explicit=not syntax.is_implicit_VR)
    return dcmread(BytesIO(content[:end])), end


def find_syntax(content: mmap | bytes) -> tuple[slice, int]:
    """Where the transfer syntax stands, and where the group of file meta elements ends (PS3.10 section 7.1)."""
    walk, at, found = _Walk(content), 132, None
    while content[at : at + 2] == b"\x02\0":
        tag, _, length, at = walk.element(at, explicit=True)
        if tag == _TRANSFER_SYNTAX:
            found = slice(at, at + length)
        at += length
    if found is None or at > len(content):
        raise ValueError("no transfer syntax")
    return found, at


class _Walk:
    """One pass over an encoded object (PS3.5 section 7), which counts what pydicom would make."""

    def __init__(self, content: mmap | bytes, *, pixels: bool = True) -> None:
        self._content, self._left, self._pixels = content, _MOST_ELEMENTS, pixels

    def element(self, at: int, *, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR (empty where it is not told), length and place of the value of the element at a place."""
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many elements")
        try:
            group, number = struct.unpack_from("<HH", self._content, at)
            tag, vr = group << 16 | number, b""
            if explicit and group != 0xFFFE:
                vr = self._content[at + 4 : at + 6]
                if vr in _SHORT:
                    (length,) = struct.unpack_from("<H", self._content, at + 6)
                    return tag, vr, length, at + 8
                if vr not in _LONG:
                    raise ValueError("an element without a value representation")
                at += 4
            (length,) = struct.unpack_from("<I", self._content, at + 4)
        except struct.error as error:
            raise ValueError("an element that is cut short") from error
        return tag, vr, length, at + 8

    def dataset(self, at: int, end: int, *, explicit: bool, depth: int = 0, open_end: bool = False) -> int:
        """Walk the elements up to ``end``, or for ``open_end`` up to a delimiter; returns where they end."""
        if not explicit and self._content[at + 4 : at + 6] in _SHORT | _LONG:
            raise ValueError("a dataset that pydicom would take for another encoding")
        while at < end:
            start = at
            tag, vr, length, at = self.element(at, explicit=explicit)
            if tag == _PIXEL_DATA and not depth and not self._pixels:
                return start
            if tag == _ITEM_END and open_end:
                return at
            told = vr not in (b"", b"UN")
            if vr == b"SQ" or (not told and (length == _UNDEFINED or _is_sequence(tag))):
                at = self._items(at, end, length, explicit=explicit and told, depth=depth + 1)
                continue
            at += length  # an undefined one, of compressed pixels, is too long
            if at > end or (length > _MOST_VALUE and (tag != _PIXEL_DATA or depth)):
                raise ValueError("an element that is too long")
        if open_end:
            raise ValueError("an item that does not end")
        return at

    def _items(self, at: int, end: int, length: int, *, explicit: bool, depth: int) -> int:
        if depth > _MOST_DEPTH:
            raise ValueError("sequences that are nested too deeply")
        open_end = length == _UNDEFINED
        last = end if open_end else at + length
        while at < last <= end:
            tag, _, size, at = self.element(at, explicit=True)
            if tag == _SEQUENCE_END and open_end:
                return at
            if tag != _ITEM:
                raise ValueError("a sequence that holds something else than items")
            until = last if size == _UNDEFINED else at + size
            if until > last:
                raise ValueError("an item that is too long")
            at = self.dataset(at, until, explicit=explicit, depth=depth, open_end=size == _UNDEFINED)
        if open_end or last > end:
            raise ValueError("a sequence that does not end")
        return at


def _is_sequence(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
