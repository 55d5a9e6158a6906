"""A minimal JPEG Lossless encoder (ITU-T T.81 process 14), because no library at hand writes it.

It serves the tests of the reader only: one component, 16 bits, one fixed Huffman table.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

# 17 categories of difference (T.81 table H.2), all coded with 5 bits: category n has code n.
_CODE_LENGTH = 5
_CATEGORIES = 17


def encode_jpeg_lossless(pixels: NDArray[np.integer], predictor: int = 1) -> bytes:
    """Encode (rows, columns) of 0..65535; ``predictor`` is 1 (left; the .70 syntax) or 4 (a + b - c; .57)."""
    rows, columns = pixels.shape
    stream = b"\xff\xd8"
    stream += _segment(0xC3, struct.pack(">BHHB", 16, rows, columns, 1) + bytes([1, 0x11, 0]))
    counts = bytes(_CATEGORIES if length == _CODE_LENGTH else 0 for length in range(1, 17))
    stream += _segment(0xC4, b"\x00" + counts + bytes(range(_CATEGORIES)))
    stream += _segment(0xDA, bytes([1, 1, 0x00, predictor, 0, 0]))
    return stream + _scan(pixels.astype(np.int64), predictor) + b"\xff\xd9"


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _scan(pixels: NDArray[np.int64], predictor: int) -> bytes:
    prediction = np.empty_like(pixels)
    prediction[0, 0] = 1 << 15
    prediction[0, 1:] = pixels[0, :-1]  # first line: the left neighbor, whatever the predictor (T.81 H.1.2.1)
    prediction[1:, 0] = pixels[:-1, 0]  # first column: the neighbor above
    if predictor == 1:
        prediction[1:, 1:] = pixels[1:, :-1]
    elif predictor == 4:
        prediction[1:, 1:] = pixels[1:, :-1] + pixels[:-1, 1:] - pixels[:-1, :-1]
    else:
        raise ValueError(f"predictor {predictor} is not written here; it must be 1 or 4")
    difference = (pixels - prediction + 32768) % 65536 - 32768
    bits = []
    for value in difference.ravel().tolist():
        category = abs(value).bit_length()
        bits.append(f"{category:05b}")
        if 0 < category < 16:
            bits.append(f"{value if value > 0 else value + (1 << category) - 1:0{category}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
