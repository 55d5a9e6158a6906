"""The place, size and rescale of one slice, from a classic header or a frame of a multi-frame one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from acuity.dicom.reading.files import MULTI_FRAME_CLASSES
from acuity.dicom.reading.headers import frame_value, items_of, macros, number, quiet_text, quiet_value, to_numbers
from acuity.dicom.reading.traits import classic_traits, frame_traits
from acuity.errors import InconsistentHeadersError, NoGeometryError

# Text rounding of direction cosines: exporters write three decimals or more.
UNIT_TOLERANCE = 1e-3
# Real slopes are 1e-5 to 1e3. Beyond an intercept of 2^24 slopes float32 no longer tells neighboring values apart.
_MAX_SLOPE, _MAX_INTERCEPT = 1e9, 2.0**24
# Twice the finest matrix of scanners.
MAX_MATRIX = 4096


@dataclass(frozen=True)
class Slice:
    """One slice before its pixels are read.

    Parameters
    ----------
    dataset : the header it comes from
    frame : 0-based number in a multi-frame object, None for a classic one
    position : (3,) center of the first pixel, LPS mm
    row, column : (3,) unit vectors along a row and down a column, LPS
    spacing : mm between neighbors along a row, and down a column (PixelSpacing has them the other way round)
    size : pixels in a row (Columns), rows
    traits : what may tell volumes at the same positions apart, by DICOM keyword; absent ones are left out
    """

    dataset: Dataset = field(repr=False)
    frame: int | None
    position: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    spacing: tuple[float, float]
    size: tuple[int, int]
    traits: dict[str, Any]

    @property
    def number(self) -> str:
        """How to name this slice to a user: its instance or frame number, which identifies no patient."""
        if self.frame is not None:
            return f"frame {self.frame + 1}"
        instance = quiet_value(self.dataset, "InstanceNumber")
        return "a slice without number" if instance is None else f"instance {instance}"


def slices_of(ds: Dataset) -> list[Slice]:
    """The slice of a single-frame image (PS3.3 C.7.6.2, Image Plane), or those of a multi-frame one (C.7.6.16).

    Raises
    ------
    NoGeometryError : position, orientation or pixel spacing is absent
    InconsistentHeadersError : one of them is not valid
    """
    if quiet_text(ds, "SOPClassUID") not in MULTI_FRAME_CLASSES:
        return [_slice(ds, None, classic_traits(ds))]
    count = int(number(ds, "NumberOfFrames") or 0)
    groups = items_of(ds, "PerFrameFunctionalGroupsSequence")
    if not groups:
        raise NoGeometryError("A multi-frame image has no functional groups for its frames.")
    if len(groups) != count:
        raise InconsistentHeadersError(
            f"A multi-frame image of {count} frames describes {len(groups)}.",
            rule="NumberOfFrames must be the number of items in PerFrameFunctionalGroupsSequence.",
        )
    return [_slice(ds, frame, frame_traits(ds, frame)) for frame in range(count)]


def rescale(ds: Dataset, frame: int | None = None) -> tuple[float, float] | None:
    """RescaleSlope and RescaleIntercept of a slice, None if neither is there (then the stored values stand).

    The Modality LUT (PS3.3 C.11.1) or, for a frame, the Pixel Value Transformation (C.7.6.16.2.9). Philips'
    private scale slope (2005,100E) and Real World Value Mapping are not applied: they lead to other units,
    not to those of the stored image.

    Raises
    ------
    InconsistentHeadersError : not a number, a slope of 0, or one of a size that no scanner writes
    """
    source = next(macros(ds, "PixelValueTransformationSequence", frame), ds)
    slope, intercept = number(source, "RescaleSlope"), number(source, "RescaleIntercept")
    if slope is None and intercept is None:
        return None
    if slope == 0:
        raise InconsistentHeadersError("RescaleSlope is 0.", rule="A slope of 0 would erase the image.")
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    if not 1 / _MAX_SLOPE <= abs(slope) <= _MAX_SLOPE or abs(intercept) > _MAX_INTERCEPT * abs(slope):
        raise InconsistentHeadersError(
            f"RescaleSlope is {slope:g} and RescaleIntercept {intercept:g}.",
            rule=f"A slope is at most {_MAX_SLOPE:g}, and an intercept no more than 2^24 slopes.",
            remedy="A header is corrupt: export the series again.",
        )
    return slope, intercept


def _slice(ds: Dataset, frame: int | None, traits: dict[str, Any]) -> Slice:
    position = _numbers(ds, frame, "PlanePositionSequence", "ImagePositionPatient", 3)
    cosines = _numbers(ds, frame, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = _numbers(ds, frame, "PixelMeasuresSequence", "PixelSpacing", 2)
    if position is None or cosines is None or spacing is None:
        values = {"ImagePositionPatient": position, "ImageOrientationPatient": cosines, "PixelSpacing": spacing}
        absent = ", ".join(keyword for keyword, value in values.items() if value is None)
        raise NoGeometryError(f"{absent} is absent.")
    if (spacing <= 0).any():
        raise InconsistentHeadersError(f"PixelSpacing is {spacing[0]:g}, {spacing[1]:g} mm.", rule="It is above 0.")
    columns, rows = number(ds, "Columns"), number(ds, "Rows")
    if not columns or not rows:
        raise InconsistentHeadersError("Rows or Columns is absent or 0.", rule="An image has rows and columns.")
    if max(columns, rows) > MAX_MATRIX:
        raise InconsistentHeadersError(
            f"An image of {rows:.0f} rows and {columns:.0f} columns.",
            rule=f"MR images have at most {MAX_MATRIX} of both.",
        )
    rescale(ds, frame)
    row, column = _unit_vectors(cosines)
    sides = float(spacing[1]), float(spacing[0])
    return Slice(ds, frame, position, row, column, sides, (int(columns), int(rows)), traits)


def _numbers(ds: Dataset, frame: int | None, sequence: str, keyword: str, count: int) -> NDArray[np.float64] | None:
    return to_numbers(frame_value(ds, frame, sequence, keyword), keyword, count)


def _unit_vectors(cosines: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    row, column = cosines[:3], cosines[3:]
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(row @ column))) > UNIT_TOLERANCE:
        raise InconsistentHeadersError(
            f"ImageOrientationPatient has lengths {lengths[0]:.4f} and {lengths[1]:.4f} and inner product "
            f"{row @ column:.4f}.",
            rule="Its two vectors must be perpendicular unit vectors.",
        )
    return row / lengths[0], column / lengths[1]
