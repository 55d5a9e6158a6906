"""The measurement report, read back by dcmqi and highdicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest

from acuity.anatomy import REGION_NAMES, Region
from acuity.dicom.writing.report import write_report
from acuity.dicom.writing.segmentation import write_regions
from acuity.imaging.measurement import measure_regions
from tests.derived import SEG_MODEL, SR_MODEL, Derived
from tests.judges import dciodvfy_errors, dcmqi_report


def test_dcmqi_reads_every_measurement_back(oblique: Derived, tmp_path: Path) -> None:
    report = dcmqi_report(oblique.folder / "report" / "report.dcm", tmp_path / "report.json")
    expected = {REGION_NAMES[m.region]: m for m in measure_regions(oblique.labels)}
    assert [group["TrackingIdentifier"] for group in report["Measurements"]] == list(expected)
    for group in report["Measurements"]:
        found = {
            item["quantity"]["CodeValue"]: (float(item["value"]), item["units"]["CodeValue"])
            for item in group["measurementItems"]
        }
        measured = expected[group["TrackingIdentifier"]]
        values = {code: value for code, (value, _) in found.items()}
        assert {code: unit for code, (_, unit) in found.items()} == {
            "118565006": "ml",
            "L0JK": "mm",
            "103339001": "mm",
            "103340004": "mm",
        }
        assert values["118565006"] == pytest.approx(measured.volume_ml, abs=5e-5)
        assert values["L0JK"] == pytest.approx(measured.longest_diameter_mm, abs=5e-3)
        assert values["103339001"] == pytest.approx(measured.long_axis_mm, abs=5e-3)
        assert values["103340004"] == pytest.approx(measured.short_axis_mm, abs=5e-3)
        assert group["FindingSite"]["CodeMeaning"] == "Brain"
        assert group["measurementAlgorithmIdentification"]["AlgorithmVersion"] == SEG_MODEL.version
    assert report["observerContext"]["ObserverType"] == "DEVICE"
    assert report["VerificationFlag"] == "UNVERIFIED"


def test_each_volume_is_that_of_the_segment_it_refers_to(oblique: Derived, tmp_path: Path) -> None:
    report = dcmqi_report(oblique.folder / "report" / "report.dcm", tmp_path / "report.json")
    seg = hd.seg.segread(oblique.folder / "report" / "regions.dcm")
    voxels = seg.get_volume(combine_segments=False).array
    for group in report["Measurements"]:
        number = group["ReferencedSegment"]
        assert group["segmentationSOPInstanceUID"] == seg.SOPInstanceUID
        assert group["TrackingUniqueIdentifier"] == seg.get_segment_description(number).tracking_uid
        counted = voxels[..., number - 1].sum() * oblique.labels.grid.voxel_volume
        assert float(group["measurementItems"][0]["value"]) == pytest.approx(counted, abs=5e-5)
        assert group["SourceSeriesForImageSegmentation"] == oblique.series[0].SeriesInstanceUID


def test_it_says_what_it_is_not_for_and_which_models_made_it(oblique: Derived) -> None:
    report = pydicom.dcmread(oblique.folder / "report" / "report.dcm")
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    comments = [item.TextValue for item in report.ContentSequence[-1].ContentSequence]
    assert comments[0] == "AI-generated. Not for primary diagnosis."
    for model in (SEG_MODEL, SR_MODEL):
        assert f"{model.name} {model.version} (weights SHA-256 {model.weights_sha256})" in comments[1]


def test_no_tumor_is_a_volume_of_nothing(oblique: Derived, tmp_path: Path) -> None:
    nothing = oblique.labels.with_array(np.zeros_like(oblique.labels.array))
    settings: dict[str, Any] = {"series_number": 9, "description": "none", "model": SEG_MODEL}
    regions = write_regions(nothing, oblique.series, tmp_path / "regions.dcm", series_uid="2.25.1", **settings)
    write_report(
        measure_regions(nothing), regions, oblique.series, tmp_path / "report.dcm", series_uid="2.25.2", **settings
    )
    assert dciodvfy_errors(tmp_path / "report.dcm") == []
    report = dcmqi_report(tmp_path / "report.dcm", tmp_path / "report.json")
    assert len(report["Measurements"]) == len(Region)
    assert [[i["value"] for i in g["measurementItems"]] for g in report["Measurements"]] == [["0.0"]] * 3
