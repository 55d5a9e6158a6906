"""Segmentations as viewers save them: read by the names of their segments, and given back what they lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import pack_bits

from acuity.anatomy import SEGMENTS
from acuity.dicom.reading.read_seg import read_segmentation
from acuity.dicom.writing.segmentation import write_annotation
from acuity.errors import UnsupportedSeriesError
from acuity.volume import Volume
from tests import dicom_builder
from tests.derived import SEG_MODEL, Derived
from tests.judges import dciodvfy_errors, dcmqi_segments
from workbench.repair_seg import repair_segmentation


def on_source(read: Volume, source: Volume) -> NDArray[np.uint8]:
    """The read labels on the source's grid, each voxel put where its millimeters are."""
    array = np.zeros(source.shape, np.uint8)
    places = np.argwhere(read.array) @ read.affine[:3, :3].T + read.affine[:3, 3] - source.affine[:3, 3]
    indices = places @ np.linalg.inv(source.affine[:3, :3]).T
    assert np.abs(indices - indices.round()).max(initial=0.0) < 1e-3
    array[tuple(indices.round().astype(int).T)] = read.array[read.array > 0]
    return array


def seg_of(derived: Derived) -> Dataset:
    return dcmread(derived.folder / "seg" / "source.dcm")


def as_viewer(ds: Dataset) -> Dataset:
    """As OHIF saves it: segments renumbered and renamed by case, codes replaced, colors and identities lost."""
    renumbered = {1: 3, 2: 1, 3: 2}
    for item in ds.SegmentSequence:
        item.SegmentNumber = renumbered[item.SegmentNumber]
        item.SegmentLabel = item.SegmentLabel.upper()
        for keyword in (
            "RecommendedDisplayCIELabValue",
            "TrackingID",
            "TrackingUID",
            "AnatomicRegionSequence",
            "SegmentationAlgorithmIdentificationSequence",
        ):
            del item[keyword]
        tissue = dicom_builder.dataset(CodeValue="85756007", CodingSchemeDesignator="SCT", CodeMeaning="Tissue")
        item.SegmentedPropertyTypeCodeSequence = item.SegmentedPropertyCategoryCodeSequence = [tissue]
    ds.SegmentSequence = sorted(ds.SegmentSequence, key=lambda item: item.SegmentNumber)
    for frame in ds.PerFrameFunctionalGroupsSequence:
        item = frame.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = renumbered[item.ReferencedSegmentNumber]
    return ds


def reordered(ds: Dataset, order: list[int]) -> Dataset:
    """The same object with its frames in another order, or some of them only."""
    pixels = ds.pixel_array[order]
    ds.PerFrameFunctionalGroupsSequence = [ds.PerFrameFunctionalGroupsSequence[n] for n in order]
    ds.NumberOfFrames = len(order)
    ds.PixelData = pack_bits(pixels)
    return ds


@pytest.mark.parametrize("name", ["sr", "source"])
def test_what_acuity_wrote_comes_back_on_every_voxel(derived: Derived, name: str) -> None:
    labels = derived.labels if name == "sr" else derived.source_labels
    read = read_segmentation(derived.folder / "seg" / f"{name}.dcm")
    np.testing.assert_array_equal(on_source(read, labels), labels.array)
    assert read.frame_of_reference_uid == labels.frame_of_reference_uid


def test_segments_are_told_by_their_names(oblique: Derived) -> None:
    read = read_segmentation(as_viewer(seg_of(oblique)))
    np.testing.assert_array_equal(on_source(read, oblique.source_labels), oblique.source_labels.array)


def test_the_order_of_frames_does_not_matter(oblique: Derived) -> None:
    ds = seg_of(oblique)
    order = np.random.default_rng(0).permutation(int(ds.NumberOfFrames)).tolist()
    read = read_segmentation(reordered(ds, order))
    np.testing.assert_array_equal(on_source(read, oblique.source_labels), oblique.source_labels.array)


@pytest.mark.parametrize("spacing", ["declared", "thickness", "absent"])
def test_slices_without_a_segment_need_not_be_there(oblique: Derived, spacing: str) -> None:
    """Only two slices, three apart, are painted: the declared distance says that two are left out between."""
    ds = seg_of(oblique)
    heights = [
        np.round(f.PlanePositionSequence[0].ImagePositionPatient, 3).tolist()
        for f in ds.PerFrameFunctionalGroupsSequence
    ]
    levels = sorted({tuple(h) for h in heights}, key=lambda h: h[2])
    keep = [n for n, h in enumerate(heights) if tuple(h) in (levels[0], levels[3])]
    ds = reordered(ds, keep)
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if spacing != "declared":
        del measures.SpacingBetweenSlices
    if spacing == "absent":
        del measures.SliceThickness
    read = read_segmentation(ds)
    assert read.shape[2] == (2 if spacing == "absent" else 4)
    array = on_source(read, oblique.source_labels)
    painted = np.flatnonzero(array.any(axis=(0, 1)))
    assert len(painted) == 2 and painted[1] - painted[0] == 3
    np.testing.assert_array_equal(array[:, :, painted], oblique.source_labels.array[:, :, painted])


def test_a_label_map_is_read(oblique: Derived) -> None:
    """As OHIF saves by default since 3.10: one frame a slice, its values the numbers of the segments."""
    labels = oblique.source_labels
    numbers = np.zeros(labels.shape, np.uint8)
    descriptions = []
    binary = hd.seg.segread(oblique.folder / "seg" / "source.dcm")
    for spec in SEGMENTS:
        numbers[labels.array == spec.label] = spec.number
        descriptions.append(binary.get_segment_description(spec.number))
    seg = hd.seg.Segmentation(
        source_images=list(labels.source_images),
        pixel_array=labels.with_array(numbers).to_highdicom(),
        segmentation_type=hd.seg.SegmentationTypeValues.LABELMAP,
        segment_descriptions=descriptions,
        series_instance_uid="2.25.1",
        series_number=1,
        sop_instance_uid="2.25.2",
        instance_number=1,
        manufacturer="v",
        manufacturer_model_name="v",
        software_versions="1",
        device_serial_number="1",
    )
    np.testing.assert_array_equal(on_source(read_segmentation(seg), labels), labels.array)


def moved(ds: Dataset, *, sideways: bool) -> None:
    """Move the last frame by 0.6 mm, along its rows or along its normal."""
    orientation = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    row, column = np.array(orientation, float).reshape(2, 3)
    position = ds.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0]
    place = np.array(position.ImagePositionPatient, float) + 0.6 * (row if sideways else np.cross(row, column))
    position.ImagePositionPatient = [f"{x:.6f}" for x in place]


def tilted(ds: Dataset) -> None:
    cosines = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    own = dicom_builder.dataset(ImageOrientationPatient=[*cosines[3:], *cosines[:3]])
    ds.PerFrameFunctionalGroupsSequence[-1].PlaneOrientationSequence = [own]


def named(ds: Dataset, name: str) -> None:
    ds.SegmentSequence[0].SegmentLabel = name


FAULTS: dict[str, tuple[Callable[[Dataset], object], str]] = {
    "name": (lambda ds: named(ds, "Lesion"), "segments Lesion, "),
    "one name twice": (lambda ds: named(ds, ds.SegmentSequence[1].SegmentLabel), "The segmentation has the segments"),
    "overlap": (lambda ds: setattr(ds, "PixelData", pack_bits(np.ones_like(ds.pixel_array))), "segments overlap"),
    "tilted": (tilted, "differ in orientation"),
    "beside": (lambda ds: moved(ds, sideways=True), "lie beside one another"),
    "uneven": (lambda ds: moved(ds, sideways=False), "no multiples of one"),
    "fractional": (lambda ds: setattr(ds, "SegmentationType", "FRACTIONAL"), "FRACTIONAL"),
    "no place": (
        lambda ds: ds.PerFrameFunctionalGroupsSequence[-1].pop("PlanePositionSequence"),
        "absent or not valid",
    ),
    "a frame without groups": (lambda ds: ds.PerFrameFunctionalGroupsSequence.pop(), "absent or not valid"),
    "cut": (lambda ds: setattr(ds, "PixelData", ds.PixelData[: len(ds.PixelData) // 3]), "absent or not valid"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_volume_of_these_labels_is_refused(oblique: Derived, fault: str) -> None:
    ds = seg_of(oblique)
    edit, message = FAULTS[fault]
    edit(ds)
    with pytest.raises(UnsupportedSeriesError, match=message):
        read_segmentation(ds)


def test_a_viewers_object_is_repaired_and_keeps_its_voxels(oblique: Derived, tmp_path: Path) -> None:
    ds = as_viewer(seg_of(oblique))
    before = bytes(ds.PixelData)
    repair_segmentation(ds, "anna")
    ds.save_as(tmp_path / "repaired.dcm", enforce_file_format=True)
    assert bytes(ds.PixelData) == before
    seg = hd.seg.segread(tmp_path / "repaired.dcm")
    original = {d.segment_label: d for d in hd.seg.segread(oblique.folder / "seg" / "source.dcm").SegmentSequence}
    for found in seg.SegmentSequence:
        expected = original[found.segment_label]
        assert found.segmented_property_type == expected.segmented_property_type
        assert found.segmented_property_category == expected.segmented_property_category
        assert found.tracking_uid == expected.tracking_uid
        assert found.RecommendedDisplayCIELabValue == expected.RecommendedDisplayCIELabValue
    assert str(seg.ContentCreatorName) == "anna^"
    assert dciodvfy_errors(tmp_path / "repaired.dcm") == _faults_of_the_viewer(oblique, tmp_path)


def _faults_of_the_viewer(derived: Derived, folder: Path) -> list[str]:
    """What dciodvfy says of the object before the repair, beyond what the repair is for."""
    ds = as_viewer(seg_of(derived))
    ds.save_as(folder / "viewer.dcm", enforce_file_format=True)
    return dciodvfy_errors(folder / "viewer.dcm")


def test_the_repair_leaves_what_it_does_not_know(oblique: Derived) -> None:
    ds = seg_of(oblique)
    ds.SegmentSequence[0].SegmentLabel = "Brainstem"
    untouched = ds.to_json()
    with pytest.raises(UnsupportedSeriesError, match="Brainstem"):
        repair_segmentation(ds)
    assert ds.to_json() == untouched


ANNOTATION: dict[str, Any] = {"series_uid": "2.25.8", "series_number": 8, "description": "Tumor"}


@pytest.mark.parametrize("model", [SEG_MODEL, None])
def test_a_persons_segmentation_is_valid_and_says_whose_it_is(derived: Derived, tmp_path: Path, model: Any) -> None:
    labels = derived.source_labels
    path = tmp_path / "annotation.dcm"
    write_annotation(labels, labels.source_images, path, annotator="anna", model=model, **ANNOTATION)
    assert dciodvfy_errors(path) == []
    seg = hd.seg.segread(path)
    kind = "SEMIAUTOMATIC" if model else "MANUAL"
    assert [item.SegmentAlgorithmType for item in seg.SegmentSequence] == [kind] * 3
    assert str(seg.ContentCreatorName) == "anna^"
    if model:
        assert seg.get_segment_description(1).algorithm_identification.parameters["weights_sha256"] == "a" * 64
    for spec, segment in zip(SEGMENTS, dcmqi_segments(path, tmp_path / "itk"), strict=True):
        read = labels.from_sitk(segment)
        np.testing.assert_array_equal(
            on_source(read.with_array((read.array > 0).astype(np.uint8)), labels), labels.array == spec.label
        )


@pytest.mark.parametrize("name", ["a\\b", "a=b", "x" * 64, "a\nb"])
def test_names_that_do_not_fit_are_refused(oblique: Derived, tmp_path: Path, name: str) -> None:
    labels = oblique.source_labels
    with pytest.raises(ValueError, match="63 characters"):
        write_annotation(labels, labels.source_images, tmp_path / "x.dcm", annotator=name, **ANNOTATION)
