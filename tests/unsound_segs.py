"""A tumor segmentation of the phantom, and what others may store in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence as Items

from acuity.volume import Grid, Volume
from label.datastores.segmentations import write_label
from tests.dicom_builder import uid


def write_seg(path: Path, series: Path, grid: Grid, labels: Any) -> Dataset:
    """A person's labels, drawn on a series of single-frame images."""
    headers = [dcmread(file, stop_before_pixels=True) for file in sorted(series.glob("*.dcm"))]
    volume = Volume(np.asarray(labels, np.uint8), grid.affine, str(headers[0].FrameOfReferenceUID), tuple(headers))
    write_label(volume, path, tag="final", annotator="anna", model=None, computed=False)
    return dcmread(path)


def save(ds: Dataset, path: Path) -> None:
    """Write an object whose UIDs may be none."""
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path, enforce_file_format=True)


def sets(**values: Any) -> Callable[[Dataset], None]:
    """Attributes of the whole object."""

    def change(ds: Dataset) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


def _groups(ds: Dataset) -> list[Dataset]:
    shared = list(ds.get("SharedFunctionalGroupsSequence", ()))
    return shared + list(ds.get("PerFrameFunctionalGroupsSequence", ()))


def in_groups(sequence: str, keyword: str, value: Any) -> Callable[[Dataset], None]:
    """An attribute of a functional group macro, in each frame that has it."""

    def change(ds: Dataset) -> None:
        for group in _groups(ds):
            for item in group.get(sequence, ()):
                setattr(item, keyword, value)

    return change


def first_frame(sequence: str, keyword: str, value: Any) -> Callable[[Dataset], None]:
    """The same, in the first frame alone."""

    def change(ds: Dataset) -> None:
        setattr(getattr(ds.PerFrameFunctionalGroupsSequence[0], sequence)[0], keyword, value)

    return change


def _without_groups(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence
    del ds.SharedFunctionalGroupsSequence


def _in_image_series(ds: Dataset) -> None:
    ds.SeriesInstanceUID = ds.ReferencedSeriesSequence[0].SeriesInstanceUID


def _on_another_series(ds: Dataset) -> None:
    ds.ReferencedSeriesSequence[0].SeriesInstanceUID = uid("elsewhere")


def _place_is_text(ds: Dataset) -> None:
    ds.PerFrameFunctionalGroupsSequence[0].add_new("PlanePositionSequence", "LO", "somewhere")


def _one_voxel(ds: Dataset) -> None:
    ds.Rows = ds.Columns = 1


PLANE, MEASURES = "PlanePositionSequence", "PixelMeasuresSequence"
UNSOUND: dict[str, tuple[Callable[[Dataset], None], str]] = {
    "study UID is a path": (sets(StudyInstanceUID="../../x"), "UIDs"),
    "series UID is text": (sets(SeriesInstanceUID="abc def"), "UIDs"),
    "SOP UID is a path": (sets(SOPInstanceUID="../../../x"), "UIDs"),
    "no series UID": (sets(SeriesInstanceUID=""), "UIDs"),
    "study that does not exist": (sets(StudyInstanceUID="1.2.3"), "another patient or study"),
    "another patient": (sets(PatientID="other"), "another patient or study"),
    "another name": (sets(PatientName="Other^Person"), "another patient or study"),
    "no patient": (sets(PatientID=None), "another patient or study"),
    "series of images": (_in_image_series, "series of images"),
    "drawn on another series": (_on_another_series, "no MR series"),
    "drawn on no series": (sets(ReferencedSeriesSequence=Items()), "no MR series"),
    "another frame of reference": (sets(FrameOfReferenceUID="1.2.3"), "frame of reference"),
    "no frame of reference": (sets(FrameOfReferenceUID=""), "frame of reference"),
    "no functional groups": (_without_groups, "cannot be read"),
    "position NaN": (first_frame(PLANE, "ImagePositionPatient", ["nan", "0", "0"]), "not finite"),
    "position of two numbers": (first_frame(PLANE, "ImagePositionPatient", [0, 0]), "cannot be read"),
    "no position": (first_frame(PLANE, "ImagePositionPatient", None), "cannot be read"),
    "a place that is text": (_place_is_text, "cannot be read"),
    "pixels of 0": (in_groups(MEASURES, "PixelSpacing", [0, 0]), "plausible"),
    "pixels of 1e30": (in_groups(MEASURES, "PixelSpacing", ["1e-30", "1e30"]), "plausible"),
    "pixels of 0.001": (in_groups(MEASURES, "PixelSpacing", [0.001, 0.001]), "plausible"),
    "pixels of inf": (in_groups(MEASURES, "PixelSpacing", ["inf", "inf"]), "plausible"),
    "slices of 1e-30": (in_groups(MEASURES, "SpacingBetweenSlices", "1e-30"), "plausible"),
    "slices of NaN": (in_groups(MEASURES, "SliceThickness", "nan"), "plausible"),
    "cosines of 0": (in_groups("PlaneOrientationSequence", "ImageOrientationPatient", [0] * 6), "perpendicular"),
    "100 m away": (first_frame(PLANE, "ImagePositionPatient", [1e5, 0, 0]), "far from"),
    "one voxel": (_one_voxel, "field of view"),
    "frames that are not there": (sets(NumberOfFrames=100000), "frames"),
    "many rows": (sets(Rows=65535, Columns=65535), "field of view"),
}
