"""The last stages: DICOM objects and the overview, written below one folder.

``series/<sequence>/0001.dcm ...``, ``seg/``, ``report/`` and ``overview/``. Series numbers begin where a scanner's do
not reach, so that derived series stand at the end of a study's list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid

from acuity.anatomy import SEGMENTS, WHOLE_TUMOR, Sequence
from acuity.assessment import reference_of
from acuity.dicom.writing.overview import write_overview
from acuity.dicom.writing.report import write_report
from acuity.dicom.writing.segmentation import write_regions, write_segmentation
from acuity.dicom.writing.series import write_mr_series
from acuity.imaging.measurement import RegionMeasurement, measure_regions
from acuity.pipeline.stages import Segmented, SuperResolved

FIRST_SERIES_NUMBER = 9001
_CUT = "Slices that {0} does not show are left out; where it shows a part of a slice, the rest is black."
_DENOISED = "Denoised by non-local means {} super-resolution."
_SEG_FINE, _SEG_SOURCE, _REGIONS, _REPORT, _OVERVIEW = (FIRST_SERIES_NUMBER + 4 + n for n in range(5))


@dataclass(frozen=True)
class WrittenSeries:
    """The derived series, as written: for each sequence its images along k."""

    images: Mapping[Sequence, list[Dataset]]

    def summary(self) -> str:
        """One line for people."""
        counts = sorted({len(images) for images in self.images.values()})
        return f"{len(self.images)} series of {' to '.join(map(str, {counts[0]: 0, counts[-1]: 0}))} images each"

    @property
    def reference(self) -> list[Dataset]:
        """The images of the sequence that the tumor is drawn on."""
        return self.images[reference_of(self.images)]


def write_all_series(images: SuperResolved, folder: Path) -> WrittenSeries:
    """Write every super-resolved volume as a derived MR series, see ``acuity.dicom.writing.series``."""
    written = {
        sequence: write_mr_series(
            images.without_unseen_slices(sequence),
            folder / "series" / sequence.value,
            sequence=sequence,
            series_uid=generate_uid(),
            series_number=FIRST_SERIES_NUMBER + list(Sequence).index(sequence),
            model=images.model,
            processing=_processing(images, sequence),
        )
        for sequence in images.volumes
    }
    return WrittenSeries(written)


def _processing(images: SuperResolved, sequence: Sequence) -> str:
    denoised = "" if images.denoising is None else _DENOISED.format(images.denoising)
    cut = _CUT.format(sequence.value) if sequence in images.shown else ""
    return " ".join(filter(None, (denoised, cut)))


@dataclass(frozen=True)
class WrittenSegmentations:
    """The overlapping regions that a report refers to, and the images they were found in."""

    regions: Dataset
    images: list[Dataset]

    def summary(self) -> str:
        """One line for people."""
        return "on the super-resolved grid and on the source's"


def write_segmentations(tumor: Segmented, series: WrittenSeries, folder: Path) -> WrittenSegmentations:
    """Write the labels on both grids, and the regions of the report, see ``acuity.dicom.writing.segmentation``."""
    fine, source = series.reference, tumor.source_labels
    what = "Tumor" if tumor.assessment.segments == SEGMENTS else WHOLE_TUMOR.name
    for labels, images, name, number, grid in (
        (tumor.labels, fine, "segmentation_sr", _SEG_FINE, "SR"),
        (source, source.source_images, "segmentation_source", _SEG_SOURCE, "source"),
    ):
        write_segmentation(
            labels,
            images,
            folder / "seg" / f"{name}.dcm",
            series_uid=generate_uid(),
            series_number=number,
            description=f"{what} by AI, on {grid} grid",
            model=tumor.model,
            assessment=tumor.assessment,
        )
    regions = write_regions(
        tumor.labels,
        fine,
        folder / "report" / "regions.dcm",
        series_uid=generate_uid(),
        series_number=_REGIONS,
        description="Tumor regions of the AI report",
        model=tumor.model,
        assessment=tumor.assessment,
    )
    return WrittenSegmentations(regions, fine)


@dataclass(frozen=True)
class WrittenReport:
    """The measurements that the report states."""

    measurements: tuple[RegionMeasurement, ...]

    def describe(self) -> dict[str, Any]:
        """The ``measurements`` section of ``result.json``: ml and mm, null where there is nothing to measure.

        All of a region that is not assessable is null, and ``not_assessable`` says why.
        """
        return {
            "measurements": {
                m.region.value: {
                    "volume_ml": None if m.volume_ml is None else round(m.volume_ml, 3),
                    "longest_diameter_mm": _rounded(m.longest_diameter_mm),
                    "long_axis_mm": _rounded(m.long_axis_mm),
                    "short_axis_mm": _rounded(m.short_axis_mm),
                    "components": m.components,
                    **({"not_assessable": m.not_assessable} if m.not_assessable else {}),
                }
                for m in self.measurements
            }
        }

    def summary(self) -> str:
        """One line for people."""
        return ", ".join(
            f"{m.region.value} not assessable"
            if m.not_assessable
            else f"{m.region.value} {_rounded(m.longest_diameter_mm) or 0:.0f} mm"
            for m in self.measurements
        )


def write_measurements(tumor: Segmented, segmentations: WrittenSegmentations, folder: Path) -> WrittenReport:
    """Measure the regions on the super-resolved grid and write the report, see ``acuity.dicom.writing.report``."""
    measurements = measure_regions(tumor.labels, tumor.assessment)
    write_report(
        measurements,
        segmentations.regions,
        segmentations.images,
        folder / "report" / "report.dcm",
        series_uid=generate_uid(),
        series_number=_REPORT,
        description="Tumor measurements by AI",
        model=tumor.model,
        further_models=(tumor.images.model,),
        assessment=tumor.assessment,
    )
    return WrittenReport(measurements)


@dataclass(frozen=True)
class WrittenOverview:
    """The picture, and the sequence that it shows."""

    sequence: Sequence

    def summary(self) -> str:
        """One line for people."""
        return f"{self.sequence.value} before and after, with outlines"


def write_overview_picture(tumor: Segmented, report: WrittenReport, folder: Path) -> WrittenOverview:
    """Write the reference before and after with the tumor's outlines, see ``acuity.dicom.writing.overview``."""
    images = tumor.images
    write_overview(
        images.source,
        images.volumes[images.reference],
        tumor.labels,
        folder / "overview",
        sequence=images.reference,
        measurements=report.measurements,
        series_uid=generate_uid(),
        series_number=_OVERVIEW,
        description="Tumor overview by AI",
        model=tumor.model,
        further_models=(images.model,),
        assessment=tumor.assessment,
        unassessed=images.unassessed,
    )
    return WrittenOverview(images.reference)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 2)
