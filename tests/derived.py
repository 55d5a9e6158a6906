"""A small study with everything that is derived from it, written by the writers under test.

The lesion is asymmetric and defined in mm, so that any grid can sample it and any flip or swap moves it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset

from acuity.anatomy import Sequence
from acuity.dicom.writing.model_info import ModelInfo
from acuity.dicom.writing.overview import write_overview
from acuity.dicom.writing.report import write_report
from acuity.dicom.writing.segmentation import write_regions, write_segmentation
from acuity.dicom.writing.series import write_mr_series
from acuity.imaging.measurement import measure_regions
from acuity.volume import Grid, Volume
from tests import dicom_builder

SR_MODEL = ModelInfo("brain_mri_super_resolution", "0.1.0", "b" * 64)
SEG_MODEL = ModelInfo("brain_tumor_segmentation", "0.2.0", "a" * 64)
SHAPE = (24, 20, 12)

# Reasons for a source: what hospitals send that makes derived objects go wrong.
SOURCES = ("oblique", "enhanced", "anonymized", "contrast")


@dataclass(frozen=True)
class Derived:
    """The study's files and the values that were written into them."""

    folder: Path
    source: Volume
    super_resolved: Volume
    labels: Volume
    source_labels: Volume
    series: list[Dataset]

    @property
    def paths(self) -> list[Path]:
        """All files, those of the source too."""
        return sorted(self.folder.rglob("*.dcm"))


def source_volume(folder: Path, kind: str, header: dict[str, Any] | None = None) -> Volume:
    """Write a source series of one of ``SOURCES`` and give it as a volume; ``header`` has further attributes."""
    array, affine = dicom_builder.phantom(SHAPE), dicom_builder.oblique_affine()
    frame_uid: str = dicom_builder.FRAME_UID
    header = dict(header or {})
    if kind == "enhanced":
        paths = [dicom_builder.write_enhanced_mr(folder / "enhanced.dcm", [array], affine, frames=[{"EchoTime": 87.0}])]
        paths[0] = _repeat_geometry(paths[0])
    else:
        if kind == "anonymized":
            missing = (
                "FrameOfReferenceUID",
                "BodyPartExamined",
                "PatientPosition",
                "Manufacturer",
                "PatientName",
                "AccessionNumber",
                "SliceThickness",
                "StudyID",
                "StudyTime",
                "ReferringPhysicianName",
            )
            header |= {**dict.fromkeys(missing), "PatientSex": "X", "PatientAge": "0Y", "PatientBirthDate": "1970"}
            frame_uid = dicom_builder.uid("made for the outputs")
        if kind == "contrast":
            header |= {
                "SpecificCharacterSet": "ISO 2022 IR 100",  # alone, as scanners write it
                "PatientName": "Müller^Jürgen",
                "ContrastBolusAgent": "Gadobutrol",
                "ScanningSequence": ["GR", "IR"],
                "InversionTime": "900",
                "StudyDescription": "Kopf nativ + KM",
            }
        with pydicom.config.disable_value_validation():
            paths = dicom_builder.write_mr_series(folder, array, affine, **header)
    datasets = tuple(pydicom.dcmread(path, stop_before_pixels=True) for path in paths)
    return Volume(array.astype(np.float32), affine, frame_uid, datasets)


def _repeat_geometry(path: Path) -> Path:
    """Give each frame the pixel measures and orientation of its own that an enhanced image may share."""
    ds = pydicom.dcmread(path)
    shared = ds.SharedFunctionalGroupsSequence[0]
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.PixelMeasuresSequence = shared.PixelMeasuresSequence
        frame.PlaneOrientationSequence = shared.PlaneOrientationSequence
    del shared.PixelMeasuresSequence, shared.PlaneOrientationSequence
    ds.save_as(path)
    return path


def lesion(grid: Grid) -> NDArray[np.uint8]:
    """Labels of a lesion sampled on a grid: a lopsided edema, within it a rim, within that a core."""
    points = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T + grid.origin
    center = dicom_builder.oblique_affine() @ np.array([14.0, 7.0, 7.0, 1.0])
    x, y, z = np.moveaxis(points - center[:3], -1, 0)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[(x / 6) ** 2 + (y / 4) ** 2 + (z / 7) ** 2 < 1] = 2
    labels[(x > 0) & (x < 9) & (abs(y) < 2) & (abs(z) < 2)] = 2
    labels[x**2 + y**2 + z**2 < 3.5**2] = 4
    labels[x**2 + y**2 + z**2 < 2.0**2] = 1
    return labels


def derive(folder: Path, kind: str = "oblique", header: dict[str, Any] | None = None) -> Derived:
    """Write a source of one of ``SOURCES``, a super-resolved series, all segmentations, report and overview."""
    source = source_volume(folder / "source", kind, header)
    grid = source.grid.with_spacing((1.0, 1.0, 1.0))
    template = source.on_grid(np.zeros(grid.shape, np.float32), grid)
    fine = sitk.Resample(source.to_sitk(), template.to_sitk(), sitk.Transform(), sitk.sitkLinear)
    super_resolved = replace(source.from_sitk(fine), affine=grid.affine)
    labels = super_resolved.with_array(lesion(grid))
    source_labels = source.with_array(lesion(source.grid))
    series = write_mr_series(
        super_resolved, folder / "series", sequence=Sequence.T1C, series_uid=hd.UID(), series_number=101, model=SR_MODEL
    )

    def naming(number: int, description: str) -> dict[str, Any]:
        return {"series_uid": hd.UID(), "series_number": number, "description": description, "model": SEG_MODEL}

    write_segmentation(labels, series, folder / "seg" / "sr.dcm", **naming(102, "Tumor on SR grid"))
    write_segmentation(
        source_labels, source.source_images, folder / "seg" / "source.dcm", **naming(103, "Tumor on source grid")
    )
    regions = write_regions(labels, series, folder / "report" / "regions.dcm", **naming(104, "Tumor regions"))
    measurements = measure_regions(labels)
    write_report(
        measurements,
        regions,
        series,
        folder / "report" / "report.dcm",
        further_models=[SR_MODEL],
        **naming(105, "Tumor measurements"),
    )
    write_overview(
        source,
        super_resolved,
        labels,
        folder / "overview",
        sequence=Sequence.T1C,
        measurements=measurements,
        further_models=[SR_MODEL],
        **naming(106, "Tumor overview"),
    )
    return Derived(folder, source, super_resolved, labels, source_labels, series)
