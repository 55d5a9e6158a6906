"""Objects of strangers: as pydicom reads them, or refused before they cost anything."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from tests.workbench.conftest import WriteSeg
from workbench.bounded_dicom import read_bounded

_MIB = 1 << 20


@pytest.fixture
def seg(write_seg: WriteSeg) -> Dataset:
    labels = np.zeros((8, 6, 4), np.uint8)
    labels[2:5, 1:3, 1:3] = 4
    return dcmread(write_seg(labels))


def encoded(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    target = BytesIO()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.save_as(target, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return target.getvalue()


def with_body(body: bytes, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A file with any bytes behind its meta elements."""
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value + body


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def nested(depth: int, *, undefined: bool) -> bytes:
    """Sequences in one another (Referenced Series Sequence)."""
    inside = b""
    for _ in range(depth):
        if undefined:
            item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + inside + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
            end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
            inside = struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 0xFFFFFFFF) + item + end
        else:
            item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inside)) + inside
            inside = struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, len(item)) + item
    return inside


def items(count: int, vr: bytes = b"SQ") -> bytes:
    content = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * count
    return struct.pack("<HH2sHI", 8, 0x1115, vr, 0, len(content)) + content


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_what_viewers_send_is_read_as_pydicom_reads_it(seg: Dataset, syntax: str) -> None:
    found = read_bounded(encoded(seg, syntax))
    assert found == dcmread(BytesIO(encoded(seg, syntax)))
    assert not found.file_meta.TransferSyntaxUID.is_deflated


BOMBS = {
    "deflated zeros": with_body(deflated(bytes(300 * _MIB)), DeflatedExplicitVRLittleEndian),
    "deflated twice as large as may be": with_body(deflated(bytes(65 * _MIB)), DeflatedExplicitVRLittleEndian),
    "deflated and cut": with_body(deflated(bytes(1000))[:-4], DeflatedExplicitVRLittleEndian),
    "not deflated": with_body(b"\xff" * 100, DeflatedExplicitVRLittleEndian),
    "3000 sequences in one another": with_body(nested(3000, undefined=True)),
    "the same with lengths": with_body(nested(900, undefined=False)),
    "13 sequences in one another": with_body(nested(13, undefined=True)),
    "millions of items": with_body(items(7_000_000)),
    "millions of items of unknown kind": with_body(items(7_000_000, b"UN")),
    "millions of elements": with_body(struct.pack("<HH2sH", 9, 1, b"LO", 0) * 7_000_000),
    "millions of meta elements": with_body(struct.pack("<HH2sH", 2, 1, b"LO", 0) * 7_000_000),
    "deflated elements": with_body(
        deflated(struct.pack("<HH2sH", 9, 1, b"LO", 0) * 7_000_000), DeflatedExplicitVRLittleEndian
    ),
    "a long text": with_body(struct.pack("<HH2sHI", 9, 1, b"UT", 0, 50 * _MIB) + bytes(50 * _MIB)),
    "pixels in an item": with_body(
        struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 0xFFFFFFFF)
        + struct.pack("<HHIHH2sHI", 0xFFFE, 0xE000, 0xFFFFFFFF, 0x7FE0, 0x10, b"OB", 0, 4 * _MIB)
        + bytes(4 * _MIB)
    ),
    "a length beyond the end": with_body(struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 2**31)),
    "an item that does not end": with_body(nested(1, undefined=True)[:-16]),
    "zeros": with_body(bytes(50 * _MIB)),
    "another encoding than it says": with_body(nested(2, undefined=True), ImplicitVRLittleEndian),
    "compressed": with_body(b"", RLELossless),
    "big endian": with_body(b"", ExplicitVRBigEndian),
    "no syntax": b"\0" * 128 + b"DICM",
    "nothing": b"",
    "a header that is cut": (b"\0" * 128 + b"DICM" + b"\2\0"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_what_would_cost_much_is_refused(case: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError):
        read_bounded(BOMBS[case])
    assert time.monotonic() - began < 10


def test_the_dearest_object_that_is_read_takes_little_memory(tmp_path: Path) -> None:
    """As many items and elements as may be, each an object of pydicom."""
    pair = struct.pack("<HHIHH2sH", 0xFFFE, 0xE000, 8, 8, 0x100, b"SH", 0)
    content = pair * 99_000
    sequence = (
        struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 0xFFFFFFFF) + content + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )
    (tmp_path / "many.dcm").write_bytes(with_body(sequence))
    program = (
        "import resource, sys; from workbench.bounded_dicom import read_bounded\n"
        "from pathlib import Path\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "ds = read_bounded(Path(sys.argv[1]).read_bytes())\n"
        "print(len(ds.ReferencedSeriesSequence), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "many.dcm")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    count, kib = map(int, done.stdout.split())
    assert count == 99_000 and kib < 512 << 10
