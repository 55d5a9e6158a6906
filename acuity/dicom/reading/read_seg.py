"""Read tumor labels from a DICOM Segmentation that Acuity wrote or a viewer saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import UID, SegmentationStorage

from acuity.anatomy import SEGMENTS, Label
from acuity.dicom.reading.geometry import cluster
from acuity.dicom.reading.headers import macro
from acuity.errors import InconsistentHeadersError, UnsupportedSeriesError
from acuity.volume import Volume

# Label Map Segmentation, which pydicom has no name for.
_LABEL_MAP_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")
# Viewers round positions and cosines when they write them as text.
_PLACE_TOLERANCE_MM = 0.05
_COSINE_TOLERANCE = 1e-4
# In slices: a frame that lies further from the next place of its stack is not in the stack.
_STEP_TOLERANCE = 0.05

_RULE = f"Its segments must be {', '.join(spec.name for spec in SEGMENTS)}, told by their Segment Labels."
_REMEDY = "Give a segmentation of Acuity's, corrected or not, and keep the names of its segments."


def read_segmentation(source: Path | Dataset) -> Volume:
    """Read the segments of ``acuity.anatomy.SEGMENTS``; their Segment Labels identify them.

    Viewers renumber segments, leave out empty ones and lose codes; names they keep. So only names count, in any order
    and apart from case and punctuation.

    Parameters
    ----------
    source : a file, or the dataset with its pixels: BINARY or LABELMAP (PS3.3 C.8.20.2)

    Returns
    -------
    Volume
        uint8 of 0, 1, 2 and 4 on the segmentation's own grid, cut along k to the slices that hold a segment: others
        need not be in the file. The affine says where they lie (LPS mm).

    Raises
    ------
    UnsupportedSeriesError
        When a segment has another name, or segments overlap, or the frames form no volume.
    """
    ds = source if isinstance(source, Dataset) else dcmread(source)
    labels = segment_labels(ds)
    frames = _frames(ds)
    levels, affine = _stack(ds, frames)
    array = np.zeros((int(ds.Columns), int(ds.Rows), max(levels) + 1), np.uint8)
    for frame, k in zip(frames, levels, strict=True):
        for number, label in labels.items():
            mask = np.equal(frame.pixels.T, number if frame.segment is None else 1)
            if frame.segment not in (None, number) or not mask.any():
                continue
            if (array[:, :, k][mask] != Label.BACKGROUND).any():
                raise _no_volume("segments overlap")
            array[:, :, k][mask] = label
    uid = ds.get("FrameOfReferenceUID")
    return Volume(array, affine, str(uid) if uid else None)


def segment_labels(ds: Dataset) -> dict[int, Label]:
    """The label of each segment number, from the header alone.

    Raises
    ------
    UnsupportedSeriesError
        When it is no Segmentation, or a segment has a name that is not Acuity's, or two have the same.
    """
    kind = str(ds.get("SegmentationType", ""))
    if ds.get("SOPClassUID") not in (SegmentationStorage, _LABEL_MAP_STORAGE) or kind not in ("BINARY", "LABELMAP"):
        raise UnsupportedSeriesError(
            f"The object is no segmentation of whole voxels ({kind or 'no segmentation'}).",
            rule="Its Segmentation Type must be BINARY or LABELMAP.",
            remedy=_REMEDY,
        )
    items = [item for item in ds.get("SegmentSequence", ()) if not (kind == "LABELMAP" and item.SegmentNumber == 0)]
    names = [str(item.get("SegmentLabel", "")) for item in items]
    labels = [label_named(name) for name in names]
    if not labels or None in labels or len(set(labels)) < len(labels):
        raise UnsupportedSeriesError(
            f"The segmentation has the segments {', '.join(names) or '(none)'}.", rule=_RULE, remedy=_REMEDY
        )
    return {int(item.SegmentNumber): label for item, label in zip(items, labels, strict=True) if label is not None}


def label_named(name: str) -> Label | None:
    """The label of a segment's name, apart from case and punctuation; None for a name that is not Acuity's."""
    for spec in SEGMENTS:
        if _plain(name) in (_plain(spec.name), _plain(spec.label.name)):
            return spec.label
    return None


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


class _Frame(NamedTuple):
    """One frame: (rows, columns), its segment's number (None in a label map), and its place (LPS mm)."""

    pixels: NDArray[Any]
    segment: int | None
    position: NDArray[np.float64]
    cosines: NDArray[np.float64]
    spacing: tuple[float, float]


def _frames(ds: Dataset) -> list[_Frame]:
    try:
        pixels = ds.pixel_array.reshape(len(ds.PerFrameFunctionalGroupsSequence), int(ds.Rows), int(ds.Columns))
        return [_frame(ds, index, frame) for index, frame in enumerate(pixels)]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, InconsistentHeadersError) as error:
        raise _no_volume(
            f"a frame's pixels, place or segment are absent or not valid ({type(error).__name__})"
        ) from error


def _frame(ds: Dataset, index: int, pixels: NDArray[Any]) -> _Frame:
    measures = macro(ds, "PixelMeasuresSequence", index)
    segment = None
    if ds.SegmentationType == "BINARY":
        segment = int(macro(ds, "SegmentIdentificationSequence", index).ReferencedSegmentNumber)
    return _Frame(
        pixels,
        segment,
        np.asarray(macro(ds, "PlanePositionSequence", index).ImagePositionPatient, np.float64),
        np.asarray(macro(ds, "PlaneOrientationSequence", index).ImageOrientationPatient, np.float64),
        (float(measures.PixelSpacing[0]), float(measures.PixelSpacing[1])),
    )


def _stack(ds: Dataset, frames: list[_Frame]) -> tuple[list[int], NDArray[np.float64]]:
    """The slice k of each frame, and the affine of the volume that they make."""
    first = frames[0]
    row, column = first.cosines.reshape(2, 3)
    normal = np.cross(row, column)
    if abs(np.linalg.norm(normal) - 1) > 1e-2:
        raise _no_volume("row and column directions are no perpendicular unit vectors")
    for frame in frames:
        if np.abs(frame.cosines - first.cosines).max() > _COSINE_TOLERANCE or not np.allclose(
            frame.spacing, first.spacing, rtol=_COSINE_TOLERANCE
        ):
            raise _no_volume("frames differ in orientation or pixel spacing")
    positions = np.stack([frame.position for frame in frames])
    heights = (positions - first.position) @ normal
    across = positions - first.position - np.outer(heights, normal)
    if np.abs(across).max() > _PLACE_TOLERANCE_MM:
        raise _no_volume("frames lie beside one another")
    ranks, count = cluster(heights)
    places = np.array([heights[ranks.index(rank)] for rank in range(count)])
    step = _step(ds, np.diff(places))
    levels = np.round((heights - places[0]) / step).astype(int)
    affine = np.eye(4)
    affine[:3, 0] = row * first.spacing[1]
    affine[:3, 1] = column * first.spacing[0]
    affine[:3, 2] = normal * step
    affine[:3, 3] = positions[int(np.argmin(heights))]
    return levels.tolist(), affine


def _step(ds: Dataset, gaps: NDArray[np.float64]) -> float:
    """The distance between slices in mm: the declared one or the least gap, if every gap is a multiple of it."""
    measures = macro(ds, "PixelMeasuresSequence")
    declared = [abs(float(measures.get(key) or 0)) for key in ("SpacingBetweenSlices", "SliceThickness")]
    candidates = [step for step in declared if step > 0] + ([float(gaps.min())] if gaps.size else [1.0])
    for step in candidates:
        counts = np.round(gaps / step)
        if (counts >= 1).all() and (np.abs(gaps - counts * step) <= _STEP_TOLERANCE * step).all():
            # Many slices tell the distance more exactly than the text of one number does.
            return float(gaps.sum() / counts.sum()) if gaps.size else step
    raise _no_volume("the distances between frames are no multiples of one")


def _no_volume(fault: str) -> UnsupportedSeriesError:
    return UnsupportedSeriesError(
        f"The segmentation is no volume of exclusive labels: {fault}.",
        rule="Its frames must be parallel and equally spaced, and its segments must not overlap.",
        remedy="Correct the segmentation in the editor that wrote it.",
    )
