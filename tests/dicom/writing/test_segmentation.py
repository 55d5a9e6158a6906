"""Segmentations: voxel-exact and in place for highdicom and dcmqi, with codes, colors and model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from acuity.anatomy import REGION_NAMES, SEGMENTS, Region, labels_to_regions
from acuity.dicom.writing.segmentation import write_regions, write_segmentation
from acuity.volume import Volume
from tests.derived import SEG_MODEL, Derived
from tests.judges import dciodvfy_errors, dcmqi_segments

NAMING: dict[str, Any] = {"series_uid": "2.25.8", "series_number": 8, "description": "Tumor", "model": SEG_MODEL}


def read_with_highdicom(path: Path, grid: Volume) -> NDArray[np.uint8]:
    """Segments as (N, I, J, K) on ``grid``."""
    volume = hd.seg.segread(path).get_volume(combine_segments=False, dtype=np.uint8)
    array: NDArray[np.uint8] = volume.match_geometry(grid.to_highdicom(), tol=1e-4).array
    return array.transpose(3, 2, 1, 0)


def read_with_dcmqi(path: Path, folder: Path, grid: Volume) -> NDArray[np.bool_]:
    """Segments as (N, I, J, K), each sampled where the voxels of ``grid`` lie in mm."""
    nearest = (
        sitk.Resample(s, grid.to_sitk(), sitk.Transform(), sitk.sitkNearestNeighbor)
        for s in dcmqi_segments(path, folder)
    )
    return np.stack([sitk.GetArrayFromImage(s).T > 0 for s in nearest])


def centroid_mm(mask: NDArray[Any], volume: Volume) -> NDArray[np.float64]:
    return volume.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + volume.affine[:3, 3]


@pytest.mark.parametrize("name", ["sr", "source"])
def test_highdicom_reads_every_voxel_back(derived: Derived, name: str) -> None:
    labels = derived.labels if name == "sr" else derived.source_labels
    read = read_with_highdicom(derived.folder / "seg" / f"{name}.dcm", labels)
    for spec, mask in zip(SEGMENTS, read, strict=True):
        np.testing.assert_array_equal(mask > 0, labels.array == spec.label)


@pytest.mark.parametrize("name", ["sr", "source"])
def test_dcmqi_reads_every_voxel_back_at_its_millimeters(derived: Derived, tmp_path: Path, name: str) -> None:
    labels = derived.labels if name == "sr" else derived.source_labels
    read = read_with_dcmqi(derived.folder / "seg" / f"{name}.dcm", tmp_path / "itk", labels)
    for spec, mask in zip(SEGMENTS, read, strict=True):
        np.testing.assert_array_equal(mask, labels.array == spec.label)


@pytest.mark.parametrize("name", ["sr", "source"])
def test_the_lesion_comes_back_where_it_was(derived: Derived, tmp_path: Path, name: str) -> None:
    labels = derived.labels if name == "sr" else derived.source_labels
    segments = dcmqi_segments(derived.folder / "seg" / f"{name}.dcm", tmp_path / "itk")
    for spec, segment in zip(SEGMENTS, segments, strict=True):
        read = labels.from_sitk(segment)
        distance = np.linalg.norm(centroid_mm(read.array, read) - centroid_mm(labels.array == spec.label, labels))
        assert distance < 0.01 * labels.spacing.min()
    # and on the grid of the source the lesion is where it is on the fine grid, within half a voxel
    drift = centroid_mm(derived.source_labels.array, derived.source) - centroid_mm(derived.labels.array, derived.labels)
    assert (np.abs(drift @ derived.source.grid.direction) < derived.source.spacing / 2).all()


def test_regions_overlap_and_come_back_exactly(derived: Derived, tmp_path: Path) -> None:
    path = derived.folder / "report" / "regions.dcm"
    expected = labels_to_regions(derived.labels.array)
    np.testing.assert_array_equal(read_with_highdicom(path, derived.labels) > 0, expected)
    np.testing.assert_array_equal(read_with_dcmqi(path, tmp_path / "itk", derived.labels), expected)
    assert [s.SegmentLabel for s in hd.seg.segread(path).SegmentSequence] == [REGION_NAMES[r] for r in Region]


def test_segments_carry_codes_colors_and_the_model(oblique: Derived) -> None:
    seg = hd.seg.segread(oblique.folder / "seg" / "sr.dcm")
    assert seg.segmentation_type == hd.seg.SegmentationTypeValues.BINARY
    for spec in SEGMENTS:
        found = seg.get_segment_description(spec.number)
        assert found.segment_label == spec.name
        assert found.segmented_property_type.value == spec.type.value
        assert found.segmented_property_type.scheme_designator == "SCT"
        assert found.algorithm_type == hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
        assert found.algorithm_identification.name == SEG_MODEL.name
        assert found.algorithm_identification.version == SEG_MODEL.version
        assert found.algorithm_identification.parameters == {"weights_sha256": SEG_MODEL.weights_sha256}
        assert found.anatomic_regions[0].meaning == "Brain"
        color = hd.color.CIELabColor.from_dicom_value(found.RecommendedDisplayCIELabValue).to_rgb()
        assert color == pytest.approx(spec.color, abs=2)


def test_one_finding_has_one_tracking_uid_on_both_grids_and_in_the_regions(oblique: Derived) -> None:
    paths = ("seg/sr.dcm", "seg/source.dcm", "report/regions.dcm")
    fine, coarse, regions = (dict(hd.seg.segread(oblique.folder / path).get_tracking_ids()) for path in paths)
    assert fine == coarse
    assert fine["Enhancing tumor"] == regions["Enhancing tumor"]
    assert len({*fine.values(), *regions.values()}) == 5


def test_each_refers_to_the_series_of_its_grid(oblique: Derived) -> None:
    fine = hd.seg.segread(oblique.folder / "seg" / "sr.dcm")
    coarse = hd.seg.segread(oblique.folder / "seg" / "source.dcm")
    assert fine.ReferencedSeriesSequence[0].SeriesInstanceUID == oblique.series[0].SeriesInstanceUID
    source = oblique.source.source_images[0]
    assert coarse.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert fine.StudyInstanceUID == coarse.StudyInstanceUID == source.StudyInstanceUID
    assert fine.FrameOfReferenceUID == coarse.FrameOfReferenceUID == source.FrameOfReferenceUID


@pytest.mark.parametrize("write", [write_segmentation, write_regions])
def test_no_tumor_is_a_valid_object_that_reads_as_none(oblique: Derived, tmp_path: Path, write: Any) -> None:
    nothing = oblique.labels.with_array(np.zeros_like(oblique.labels.array))
    write(nothing, oblique.series, tmp_path / "empty.dcm", **NAMING)
    seg = hd.seg.segread(tmp_path / "empty.dcm")
    assert (seg.NumberOfFrames, seg.number_of_segments, int(seg.pixel_array.sum())) == (3, 3, 0)
    assert dciodvfy_errors(tmp_path / "empty.dcm") == []
    assert not read_with_dcmqi(tmp_path / "empty.dcm", tmp_path / "itk", nothing).any()


def test_an_absent_label_leaves_its_segment_described_and_empty(oblique: Derived, tmp_path: Path) -> None:
    array = np.where(oblique.labels.array == 4, 0, oblique.labels.array).astype(np.uint8)
    write_segmentation(oblique.labels.with_array(array), oblique.series, tmp_path / "seg.dcm", **NAMING)
    read = read_with_highdicom(tmp_path / "seg.dcm", oblique.labels)
    assert [bool(mask.any()) for mask in read] == [True, True, False]
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []


def test_labels_that_are_not_defined_are_refused(oblique: Derived, tmp_path: Path) -> None:
    array = oblique.labels.array.copy()
    array[0, 0, 0] = 3
    with pytest.raises(ValueError, match=r"values \[3\]; only 0, 1, 2 and 4"):
        write_segmentation(oblique.labels.with_array(array), oblique.series, tmp_path / "seg.dcm", **NAMING)
    assert not (tmp_path / "seg.dcm").exists()


def test_labels_without_a_frame_of_reference_are_refused(oblique: Derived, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="generate it for the study"):
        write_segmentation(
            replace(oblique.labels, frame_of_reference_uid=None), oblique.series, tmp_path / "seg.dcm", **NAMING
        )


def test_source_images_without_a_frame_of_reference_are_not_changed(derive_once: Callable[[str], Derived]) -> None:
    derived = derive_once("anonymized")
    assert all("FrameOfReferenceUID" not in ds for ds in derived.source.source_images)
    seg = hd.seg.segread(derived.folder / "seg" / "source.dcm")
    assert seg.FrameOfReferenceUID == derived.source.frame_of_reference_uid
