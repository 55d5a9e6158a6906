"""The size that a compressed image claims, read before a decoder takes memory for it."""

from __future__ import annotations

import struct

_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  "
# Markers of a JPEG stream that no segment follows, and those of frames (ISO/IEC 10918-1 table B.1, 14495-1 C.1).
_ALONE = {0x01, *range(0xD0, 0xD9)}
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA


def coded_size(code: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components of a JPEG, JPEG-LS or JPEG 2000 image; None where its bytes do not tell.

    The largest of several: a decoder may heed any.
    """
    if code.startswith(_JP2):
        code = code[max(0, code.find(_JPEG_2000, 0, 1 << 16)) :]
    if code.startswith(_JPEG_2000):
        return _size_of_jpeg_2000(code)
    return _size_of_jpeg(code) if code.startswith(_JPEG) else None


def _size_of_jpeg_2000(code: bytes) -> tuple[int, int, int] | None:
    """From the marker segment of the size (ISO/IEC 15444-1 A.5.1)."""
    if len(code) < 42:
        return None
    right, bottom, left, top = struct.unpack(">4I", code[8:24])
    return bottom - top, right - left, struct.unpack(">H", code[40:42])[0]


def _size_of_jpeg(code: bytes) -> tuple[int, int, int] | None:
    """From the frame headers before the first scan (ISO/IEC 10918-1 B.2.2)."""
    sizes = []
    place = 2
    while place + 9 < len(code) and code[place] == 0xFF:
        marker = code[place + 1]
        if marker == 0xFF or marker in _ALONE:  # padding
            place += 1 if marker == 0xFF else 2
            continue
        if marker == _SCAN:
            break
        if marker in _FRAMES:
            sizes.append(struct.unpack(">HHB", code[place + 5 : place + 10]))
        place += 2 + struct.unpack(">H", code[place + 2 : place + 4])[0]
    if not sizes:
        return None
    rows, columns, components = (max(values) for values in zip(*sizes, strict=True))
    return rows, columns, components
