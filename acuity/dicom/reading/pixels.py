"""Decoding a stack's pixels into a volume."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from acuity.dicom.reading.slices import rescale
from acuity.dicom.reading.study import Stack
from acuity.errors import UnreadablePixelsError
from acuity.volume import Volume


def load_stack(stack: Stack) -> Volume:
    """Read the pixels of a stack, in any transfer syntax, and rescale each slice by its own slope and intercept.

    Returns
    -------
    Volume with a float32 array [i, j, k] of rescaled values on ``stack.grid``; its source images are the
    stack's headers, sorted along k (one dataset if the stack is multi-frame).

    Raises
    ------
    UnreadablePixelsError : pixel data is absent, truncated, or cannot be decoded
    """
    array = np.empty(stack.grid.shape, dtype=np.float32)
    if stack.frames is None:
        for k, ds in enumerate(stack.datasets):
            array[:, :, k] = _rescaled(_decode(ds, None, k)[0], ds, None)
    else:
        ds = stack.datasets[0]
        for k, (frame, stored) in enumerate(zip(stack.frames, _decode(ds, stack.frames, 0), strict=True)):
            array[:, :, k] = _rescaled(stored, ds, frame)
    return Volume(array, stack.grid.affine, stack.frame_of_reference_uid, stack.datasets)


def _rescaled(stored: NDArray, ds: Dataset, frame: int | None) -> NDArray[np.float64]:
    """(rows, columns) of stored values to [i, j] of rescaled ones; float64 so that int32 loses nothing here."""
    slope, intercept = rescale(ds, frame) or (1.0, 0.0)
    return stored.T.astype(np.float64) * slope + intercept


def _reopen(ds: Dataset) -> Dataset:
    """The whole file of a header; a file without preamble has no transfer syntax either, only an encoding."""
    full = dcmread(str(ds.filename), force=True)
    if "TransferSyntaxUID" not in full.file_meta:
        implicit = full.original_encoding[0]
        full.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return full


def _decode(ds: Dataset, frames: tuple[int, ...] | None, k: int) -> list[NDArray]:
    """The stored values of the wanted frames (the only one if None), each (rows, columns)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # padding and the like; what matters raises
            full = ds if "PixelData" in ds else _reopen(ds)
            if full.get("SOPInstanceUID") != ds.get("SOPInstanceUID"):
                raise ValueError("the file has changed since its header was read")
            arrays = [full.pixel_array] if frames is None else list(iter_pixels(full, indices=frames))
    except MemoryError:
        raise
    except Exception as error:  # each decoder fails in its own way
        syntax = getattr(ds, "file_meta", Dataset()).get("TransferSyntaxUID")
        name = syntax.name if syntax is not None else "unknown transfer syntax"
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
