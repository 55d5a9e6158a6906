"""How the bits of a stored pixel are read (PS3.5 section 8.1.1), beyond what pydicom does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from acuity.dicom.reading.headers import number, quiet_number, quiet_value
from acuity.errors import InconsistentHeadersError, UnreadablePixelsError, UnsupportedSeriesError


def check_bits(ds: Dataset) -> None:
    """Refuse pixels whose bits cannot be where the header says.

    Raises
    ------
    InconsistentHeadersError : the bits do not fit into each other
    UnsupportedSeriesError : compressed pixels are in upper bits, which no encoder does
    """
    allocated, stored, high = (number(ds, keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated is None or stored is None or high is None:
        return  # of images without pixels here, such as an archive's metadata
    if allocated not in (8, 16, 32) or not 1 <= stored <= high + 1 <= allocated:
        raise InconsistentHeadersError(
            f"BitsAllocated is {allocated:g}, BitsStored {stored:g}, and HighBit {high:g}.",
            rule="Stored bits lie within the 8, 16 or 32 that are allocated.",
            remedy="A header is corrupt: export the series again.",
        )
    syntax = getattr(ds, "file_meta", Dataset()).get("TransferSyntaxUID")
    if unused_low_bits(ds) and syntax is not None and syntax.is_compressed and not syntax.is_deflated:
        raise UnsupportedSeriesError(
            f"Compressed pixels of {stored:g} bits have the high bit {high:g}.", rule="It is BitsStored - 1."
        )


def unused_low_bits(ds: Dataset) -> int:
    """How many bits of a pixel lie below the stored ones; 0 in all but old images."""
    stored, high = quiet_number(quiet_value(ds, "BitsStored")), quiet_number(quiet_value(ds, "HighBit"))
    return 0 if stored is None or high is None else int(high + 1 - stored)


def from_upper_bits(pixels: NDArray, ds: Dataset, k: int) -> NDArray:
    """Move values that are stored in upper bits down; ``k`` is the slice, from 0.

    Raises
    ------
    UnreadablePixelsError : lower bits are in use too, so that the header cannot be right
    """
    low = unused_low_bits(ds)
    if not low:
        return pixels
    if (pixels & ((1 << low) - 1)).any():
        raise UnreadablePixelsError(
            f"The pixels of slice {k + 1} use bits below those that the header names.",
            rule="HighBit and BitsStored say where the values are.",
            remedy="A header is corrupt: export the series again.",
        )
    above = int(ds.BitsAllocated) - 1 - int(ds.HighBit)
    return (pixels << above) >> (above + low)  # up and down again: a signed value keeps its sign


def padding_of(pixels: NDArray, ds: Dataset) -> NDArray[np.bool_]:
    """Which stored values are Pixel Padding Value, or between it and Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2).

    Scanners write both as signed where pixels are not, and the other way round; the same bits are the same value.
    """
    value = quiet_number(quiet_value(ds, "PixelPaddingValue"))
    if value is None:
        return np.zeros(pixels.shape, dtype=bool)
    limit = quiet_number(quiet_value(ds, "PixelPaddingRangeLimit"))
    ends = sorted(_with_sign_of(pixels, number) for number in (value, value if limit is None else limit))
    return (pixels >= ends[0]) & (pixels <= ends[1])


def _with_sign_of(pixels: NDArray, value: float) -> int:
    kind = np.iinfo(pixels.dtype)
    if kind.min <= value <= kind.max:
        return int(value)
    return int(value) + (2**kind.bits if value < 0 else -(2**kind.bits))
