"""Decoding a stack's pixels into a volume."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from acuity.dicom.reading.bits import from_upper_bits, padding_of, unused_low_bits
from acuity.dicom.reading.codestream import coded_size
from acuity.dicom.reading.headers import quiet_text
from acuity.dicom.reading.slices import rescale
from acuity.dicom.reading.study import Stack
from acuity.errors import UnreadablePixelsError
from acuity.volume import Volume

_MAX_FILE_BYTES = 2 << 30


def load_stack(stack: Stack) -> Volume:
    """Read the pixels of a stack, in any transfer syntax, and rescale each slice by its own slope and intercept.

    MONOCHROME1 (PS3.3 C.7.6.3.1.2: the least value is white) is inverted about the brightest voxel of the volume, so
    that air is dark in every volume. Padding (C.7.5.1.1.2) is no part of the image: it becomes background, which is 0,
    or the value of the image that is nearest to it.

    Returns
    -------
    Volume with a float32 array [i, j, k] of rescaled values on ``stack.grid``; its source images are the
    stack's headers, sorted along k (one dataset if the stack is multi-frame).

    Raises
    ------
    UnreadablePixelsError : pixel data is absent, truncated, or cannot be decoded
    """
    slices = _stored(stack)
    first = next(slices)  # before memory is taken for all: a header may state any size
    array = np.empty(stack.grid.shape, dtype=np.float32)
    padding = np.zeros(stack.grid.shape, dtype=bool)
    for k, (stored, ds, frame) in enumerate(chain([first], slices)):
        array[:, :, k] = _rescaled(stored, ds, frame)
        padding[:, :, k] = padding_of(stored, ds).T
    inverted = quiet_text(stack.datasets[0], "PhotometricInterpretation") == "MONOCHROME1"
    if inverted or padding.any():
        array = _as_measured(array, padding, inverted)
    return Volume(array, stack.grid.affine, stack.frame_of_reference_uid, stack.datasets, stack.frames)


def _as_measured(array: NDArray[np.float32], padding: NDArray[np.bool_], inverted: bool) -> NDArray[np.float32]:
    """The volume with dark air, and with background in place of padding."""
    measured = array[~padding]
    if not measured.size:
        raise UnreadablePixelsError(
            "Every pixel is padding.", rule="An image has pixels.", remedy="Send the series again."
        )
    low, high = float(measured.min()), float(measured.max())
    if inverted:
        array, low, high = high - array, 0.0, high - low
    return np.where(padding, np.float32(np.clip(0.0, low, high)), array)


def _stored(stack: Stack) -> Iterator[tuple[NDArray, Dataset, int | None]]:
    """For each slice its stored values (rows, columns), its dataset and its frame."""
    if stack.frames is None:
        for k, ds in enumerate(stack.datasets):
            yield from_upper_bits(_decode(ds, None, k)[0], ds, k), ds, None
    else:
        ds = stack.datasets[0]
        for k, (frame, stored) in enumerate(zip(stack.frames, _decode(ds, stack.frames, 0), strict=True)):
            yield from_upper_bits(stored, ds, k), ds, frame


def _rescaled(stored: NDArray, ds: Dataset, frame: int | None) -> NDArray[np.float64]:
    """(rows, columns) of stored values to [i, j] of rescaled ones; float64 so that int32 loses nothing here."""
    slope, intercept = rescale(ds, frame) or (1.0, 0.0)
    return stored.T.astype(np.float64) * slope + intercept


def _reopen(ds: Dataset) -> Dataset:
    """The whole file of a header; a file without preamble has no transfer syntax either, only an encoding."""
    if Path(str(ds.filename)).stat().st_size > _MAX_FILE_BYTES:
        raise ValueError("a file larger than any volume")
    full = dcmread(str(ds.filename), force=True)
    if "TransferSyntaxUID" not in full.file_meta:
        implicit = full.original_encoding[0]
        full.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return full


def _check_codes(ds: Dataset) -> None:
    """Refuse compressed pixels of another size than the header's: a decoder would take memory for what they claim.

    Raises
    ------
    ValueError : they are
    """
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless:
        return
    expected = (ds.Rows, ds.Columns, 1)
    for code in generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames") or 1)):
        if coded_size(code) != expected:
            raise ValueError("another size than the header's")


def _decode(ds: Dataset, frames: tuple[int, ...] | None, k: int) -> list[NDArray]:
    """The stored values of the wanted frames (the only one if None), each (rows, columns)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # padding and the like; what matters raises
            full = ds if "PixelData" in ds else _reopen(ds)
            if full.get("SOPInstanceUID") != ds.get("SOPInstanceUID"):
                raise ValueError("the file has changed since its header was read")
            _check_codes(full)
            correct = not unused_low_bits(ds)
            if frames is None:
                arrays = [pixel_array(full, correct_unused_bits=correct)]
            else:
                arrays = list(iter_pixels(full, indices=frames, correct_unused_bits=correct))
    except Exception as error:  # each decoder fails in its own way; a length that lies, for want of memory
        syntax = UID(quiet_text(getattr(ds, "file_meta", Dataset()), "TransferSyntaxUID"))
        name = syntax.name or "unknown transfer syntax"
        raise UnreadablePixelsError(
            f"The pixels of slice {k + 1} cannot be decoded ({name}; {type(error).__name__}).",
            rule="Every slice must have complete pixel data.",
            remedy="The file is truncated or damaged: send the series again.",
        ) from error
    if any(array.shape != (ds.Rows, ds.Columns) for array in arrays):
        raise UnreadablePixelsError(
            f"The pixels of slice {k + 1} decode to {arrays[0].shape}, and the header says {ds.Rows} x {ds.Columns}.",
            rule="Pixel data and header must agree.",
            remedy="Send the series again.",
        )
    return arrays
