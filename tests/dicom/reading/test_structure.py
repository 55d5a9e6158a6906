"""Files that claim more than they hold: refused before memory is taken for what they claim."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

from acuity.dicom.reading.codestream import coded_size
from acuity.dicom.reading.read import load_stack, read_study
from acuity.errors import UnreadablePixelsError
from tests.dicom_builder import axial_affine, phantom, write_mr_series
from tests.fuzz import elements as parts
from tests.fuzz.elements import ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, Element, element

MIB = 1 << 20
SHAPE = (64, 64, 4)
TAG = 0x7FD11001  # private
FRAME = b"\xff\xc0\x00\x0a\x08\xff\xff\x00\x20\x01\x00\x00"  # a frame header of a JPEG stream


def bomb(path: Path, place: str, megabytes: int) -> None:
    """Deflate zeros behind the pixels, before them, or in place of an element."""
    data = path.read_bytes()
    start = parts.start_of(data)
    plain = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    at = len(plain) if place == "behind" else plain.rfind(b"\xe0\x7f\x10\x00")
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    pieces = [packer.compress(plain[:at])]
    if place == "element":
        pieces.append(packer.compress(struct.pack("<HH2s2xI", 0x7FD1, 0x1001, b"OB", megabytes * MIB)))
    pieces += [packer.compress(bytes(MIB)) for _ in range(megabytes)]
    path.write_bytes(data[:start] + b"".join(pieces) + packer.compress(plain[at:]) + packer.flush())


@pytest.mark.parametrize("place", ["behind", "before", "element"])
def test_a_deflate_bomb_is_inflated_no_further_than_an_image_reaches(tmp_path: Path, place: str) -> None:
    paths = write_mr_series(tmp_path, phantom(SHAPE), axial_affine(), transfer_syntax=DeflatedExplicitVRLittleEndian)
    bomb(paths[1], place, 400)
    tracemalloc.start()
    try:
        (series,) = read_study(tmp_path).series
        assert tracemalloc.get_traced_memory()[1] < 300 * MIB
    finally:
        tracemalloc.stop()
    assert series.verdict == "refused" and series.code in ("inconsistent-headers", "unreadable-pixels")


def deep(depth: int) -> Element:
    start = struct.pack("<HH2s2xI", 0x7FD1, 0x1001, b"SQ", UNDEFINED) + ITEM + struct.pack("<I", UNDEFINED)
    value = ITEM + struct.pack("<I", UNDEFINED) + start * depth + (ITEM_END + SEQUENCE_END) * depth
    return element(TAG, "SQ", value + ITEM_END + SEQUENCE_END)


# Before the pixels: the element or elements to put there, and what the refusal says.
ATTACKS: dict[str, tuple[list[Element], str]] = {
    "one tag twice": ([element(0x00280010, "US", b"\x40\0")], "an element is there twice"),
    "deep sequences": ([deep(40)], "sequences in sequences without end"),
    "many elements": ([element(TAG, "SQ", (ITEM + bytes(4)) * 500_001)], "larger than that of any image"),
    "a long value": ([element(TAG, "OB", bytes(65 * MIB))], "larger than that of any image"),
    "a length that lies": ([Element(TAG, b"OB", b"", 0xF0000000)], "longer than the file"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_header_that_no_image_has(tmp_path: Path, attack: str) -> None:
    """Only its own series is refused, though all lie in one folder."""
    added, message = ATTACKS[attack]
    write_mr_series(tmp_path, phantom(SHAPE), axial_affine(), name="good", series_number=2)
    path = write_mr_series(tmp_path, phantom(SHAPE), axial_affine())[1]
    before, found = parts.read(path)
    parts.write(path, before, [*found[:-1], *added, found[-1]])
    series = read_study(tmp_path).series
    codes, reasons = {s.description: s.code for s in series}, " ".join(s.reason for s in series)
    assert codes == {"T1": "inconsistent-headers", "good": "ok"} and message in reasons


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_that_claims_another_size_is_not_decoded(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_mr_series(tmp_path, phantom(SHAPE), axial_affine(), transfer_syntax=syntax)[0]
    data = bytearray(path.read_bytes())
    for mark, place, form in ((b"\xff\xc3", 5, ">HH"), (b"\xff\xf7", 5, ">HH"), (b"\xff\x4f\xff\x51", 8, ">II")):
        if (at := bytes(data).rfind(mark)) > 0:
            struct.pack_into(form, data, at + place, 60000, 60000)
            break
    path.write_bytes(bytes(data))
    monkeypatch.setattr("acuity.dicom.reading.pixels.pixel_array", lambda *_, **__: pytest.fail("it was decoded"))
    (series,) = read_study(tmp_path).series
    with pytest.raises(UnreadablePixelsError, match="slice 1 cannot be decoded"):
        load_stack(series.stacks[0])


@pytest.mark.parametrize(
    ("code", "size"),
    [
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08\x00\x10\x00\x20\x01\x00\x00\x00", (16, 32, 1)),
        (b"\xff\xd8\xff\xff\xc0\x00\x0b\x08\x00\x10\x00\x20\x03\x00\x00\x00", (16, 32, 3)),
        (
            b"\xff\xd8" + 2 * b"\xff\xc0\x00\x0a\x08\xff\xff\x00\x20\x01\x00\x00" + b"\xff\xda" + bytes(9),
            (65535, 32, 1),
        ),
        (b"\xff\xd8\xff\xda\x00\x00", None),
        (b"", None),
        (b"\xff\x4f\xff\x51" + bytes(20), None),
    ],
)
def test_the_size_of_a_codestream(code: bytes, size: tuple[int, int, int] | None) -> None:
    assert coded_size(code) == size
