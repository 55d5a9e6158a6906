"""Whether a Segmentation belongs to the study that it is in, and can be read at a bounded cost: by its header alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from acuity.dicom.reading.headers import frame_value, macro
from acuity.errors import InconsistentHeadersError

UID_PATTERN = re.compile(r"[0-9]+(\.[0-9]+)*")  # some archives hold components with leading zeros
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_SPACING_MM = (0.05, 20.0)  # of pixels and slices
_FIELD_OF_VIEW_MM = (50.0, 600.0)
_MOST_AWAY_MM = 1000.0  # from the image that it was drawn on
_MOST_VOXELS = 1 << 28  # of the volume that its frames make
_COSINE_TOLERANCE = 1e-2
_SAME_PLACE_MM = 0.01
_MOST_OVERHANG_MM = 10.0  # of a frame beyond the images of its series
# What pydicom raises where values are converted, and what ``acuity.dicom.reading.headers`` raises.
_FAULTS = (
    ArithmeticError,
    AttributeError,
    InconsistentHeadersError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def is_uid(text: str) -> bool:
    """Whether a text is a UID (PS3.5 section 9.1), and so may stand in an address or a path."""
    return len(text) <= 64 and UID_PATTERN.fullmatch(text) is not None


def segmentation_fault(ds: Dataset, image_of: Callable[[str], Dataset | None]) -> str | None:
    """What is wrong with a Segmentation, as a sentence without values of its header; None where it is sound.

    Parameters
    ----------
    ds : its header
    image_of : from the UID of a series to the header of one of its images; None for a series that is no MR series of
        the study
    """
    try:
        return _identity_fault(ds, image_of) or _geometry_fault(ds, image_of)
    except _FAULTS as error:
        return f"Its header cannot be read ({type(error).__name__})."


def reaches_beyond(ds: Dataset, image: Dataset, positions: NDArray[np.float64]) -> bool:
    """Whether a sound Segmentation reaches beyond the volume of its series: drawn on, it would be lost in part.

    Parameters
    ----------
    image : header of one of the images of the series
    positions : (N, 3), Image Position (Patient) of all images of the series, LPS mm
    """
    cosines = frame_value(image, 0, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = frame_value(image, 0, "PixelMeasuresSequence", "PixelSpacing")
    row, column = np.array(cosines, np.float64).reshape(2, 3)
    axes = np.stack([row, column, np.cross(row, column)])
    places = positions @ axes.T
    high = places.max(axis=0) + [image.Columns * spacing[1], image.Rows * spacing[0], 0]
    corners = np.concatenate([_corners(ds, frame) for frame in range(len(ds.PerFrameFunctionalGroupsSequence))])
    corners = corners @ axes.T
    beyond = np.maximum(places.min(axis=0) - corners, corners - high)
    return not beyond.max() <= _MOST_OVERHANG_MM  # NaN counts


def _corners(ds: Dataset, frame: int) -> NDArray[np.float64]:
    row, column = _numbers(ds, "PlaneOrientation", "ImageOrientationPatient", 6, frame).reshape(2, 3)
    spacing = _numbers(ds, "PixelMeasures", "PixelSpacing", 2, frame)
    across, down = row * spacing[1] * int(ds.Columns), column * spacing[0] * int(ds.Rows)
    corner = _numbers(ds, "PlanePosition", "ImagePositionPatient", 3, frame)
    return np.stack([corner, corner + across, corner + down, corner + across + down])


def _identity_fault(ds: Dataset, image_of: Callable[[str], Dataset | None]) -> str | None:
    if not all(is_uid(str(ds.get(keyword) or "")) for keyword in _UIDS):
        return "One of its UIDs is none."
    image = _drawn_on(ds, image_of)
    if image is None:
        return "The series that it was drawn on is no MR series of the study."
    if ds.SeriesInstanceUID == image.SeriesInstanceUID:
        return "It lies in a series of images."
    if ds.StudyInstanceUID != image.StudyInstanceUID or _patient(ds) != _patient(image):
        return "It is of another patient or study than the series that it was drawn on."
    if image.get("FrameOfReferenceUID") and ds.get("FrameOfReferenceUID") != image.FrameOfReferenceUID:
        return "It lies in another frame of reference than the series that it was drawn on."
    return None


def _geometry_fault(ds: Dataset, image_of: Callable[[str], Dataset | None]) -> str | None:
    count, rows, columns = len(ds.PerFrameFunctionalGroupsSequence), int(ds.Rows), int(ds.Columns)
    if int(ds.get("NumberOfFrames", 1)) != count or min(count, rows, columns) < 1:
        return "Its frames are not those that its header describes."
    positions = np.array([_numbers(ds, "PlanePosition", "ImagePositionPatient", 3, n) for n in range(count)])
    cosines = np.array([_numbers(ds, "PlaneOrientation", "ImageOrientationPatient", 6, n) for n in range(count)])
    spacings = np.array([_numbers(ds, "PixelMeasures", "PixelSpacing", 2, n) for n in range(count)])
    lengths = np.concatenate([spacings.ravel(), _declared_steps(ds, count)])
    if not (np.isfinite(positions).all() and np.isfinite(cosines).all() and _within(lengths, _SPACING_MM)):
        return "Its geometry is not finite or not plausible."
    row, column = cosines[0].reshape(2, 3)
    axes = np.stack([row, column, np.cross(row, column)])
    if np.abs(axes @ axes.T - np.eye(3)).max() > _COSINE_TOLERANCE:
        return "Its row and column are no perpendicular unit vectors."
    if not _within(spacings[0] * [rows, columns], _FIELD_OF_VIEW_MM):
        return "Its field of view is not that of a head."
    image = _drawn_on(ds, image_of)
    assert image is not None, "its identity was checked"
    place = image.get("ImagePositionPatient") or macro(image, "PlanePositionSequence").ImagePositionPatient
    if np.abs(positions - np.array(place, np.float64)).max() > _MOST_AWAY_MM:
        return "It lies far from the series that it was drawn on."
    if _levels(positions @ axes[2], _declared_steps(ds, 1)) * rows * columns > _MOST_VOXELS:
        return "Its frames make a volume that is too large."
    return None


def _drawn_on(ds: Dataset, image_of: Callable[[str], Dataset | None]) -> Dataset | None:
    uid = str((ds.get("ReferencedSeriesSequence") or [Dataset()])[0].get("SeriesInstanceUID", ""))
    return image_of(uid) if is_uid(uid) else None


def _patient(ds: Dataset) -> tuple[str, str]:
    """Patient ID and name; viewers end names otherwise."""
    return str(ds.get("PatientID") or "").strip(), str(ds.get("PatientName") or "").strip("^= ")


def _numbers(ds: Dataset, name: str, keyword: str, count: int, frame: int) -> NDArray[np.float64]:
    found = np.array(macro(ds, f"{name}Sequence", frame)[keyword].value, np.float64)
    if found.shape != (count,):
        raise ValueError(keyword)
    return found


def _declared_steps(ds: Dataset, count: int) -> NDArray[np.float64]:
    """Distances between slices and their thicknesses in mm, those that frames declare.

    Zeros count: archives may give 1e-30 as 0.
    """
    macros = [macro(ds, "PixelMeasuresSequence", frame) for frame in range(count)]
    found = [one.get(key) for one in macros for key in ("SpacingBetweenSlices", "SliceThickness")]
    return np.abs(np.array([one for one in found if one not in (None, "")], np.float64))


def _levels(heights: NDArray[np.float64], declared: NDArray[np.float64]) -> float:
    """Most slices of the volume that frames at these heights make."""
    gaps = np.diff(np.sort(heights))
    gaps = gaps[gaps > _SAME_PLACE_MM]
    return 1.0 + float(gaps.sum() / min([*declared, *gaps])) if gaps.size else 1.0


def _within(values: NDArray[np.float64], bounds: tuple[float, float]) -> bool:
    return bool(((values >= bounds[0]) & (values <= bounds[1])).all())
