"""The elements of a DICOM file as bytes, which can be written again with any length, order and type."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
PIXELS = 0x7FE00010
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0" + bytes(4), b"\xfe\xff\xdd\xe0" + bytes(4)


@dataclass(frozen=True)
class Element:
    """One top-level element in explicit VR little endian; ``length`` is what its header says of it."""

    tag: int
    vr: bytes
    value: bytes
    length: int

    def encoded(self) -> bytes:
        """The element's bytes."""
        start = struct.pack("<HH", self.tag >> 16, self.tag & 0xFFFF) + self.vr
        if self.vr in LONG:
            return start + struct.pack("<2xI", self.length & UNDEFINED) + self.value
        return start + struct.pack("<H", self.length & 0xFFFF) + self.value

    def holding(self, value: bytes, vr: bytes | None = None) -> Element:
        """Another value, of its length."""
        return replace(self, value=value, length=len(value), vr=vr or self.vr)


def element(tag: int, vr: str, value: bytes) -> Element:
    """An element of the right length."""
    return Element(tag, vr.encode(), value, len(value))


def start_of(data: bytes) -> int:
    """Where the dataset begins, behind the file meta information."""
    return 144 + int.from_bytes(data[140:144], "little")


def split(data: bytes) -> tuple[bytes, list[Element]]:
    """What stands before the dataset of an explicit little endian file, and its elements."""
    place = start_of(data)
    before, elements = data[:place], []
    while place < len(data):
        group, number, vr, short = struct.unpack("<HH2sH", data[place : place + 8])
        place += 8
        length = short
        if vr in LONG:
            length = struct.unpack("<I", data[place : place + 4])[0]
            place += 4
        end = len(data) if length == UNDEFINED else place + length  # only encapsulated pixels, which come last
        elements.append(Element(group << 16 | number, vr, data[place:end], length))
        place = end
    return before, elements


def read(path: Path) -> tuple[bytes, list[Element]]:
    """As ``split``, of a file."""
    return split(path.read_bytes())


def write(path: Path, before: bytes, elements: list[Element]) -> None:
    """Write a file of ``read``'s parts."""
    path.write_bytes(before + b"".join(e.encoded() for e in elements))
