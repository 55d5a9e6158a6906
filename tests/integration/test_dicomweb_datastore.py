"""The study datastore on a real Orthanc: valid objects, viewers' objects, studies that change, a server that stops."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
import requests
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from acuity.anatomy import SEGMENTS, Sequence
from acuity.dicom.writing.model_info import ModelInfo
from acuity.dicom.writing.segmentation import write_segmentation
from acuity.errors import ArchiveError, DataError, InputNotFoundError, MissingSequenceError
from label.case import read_case, write_volume
from label.datastores.archive import ArchiveDatastore
from label.datastores.dicomweb import Archive
from label.status import case_status
from tests.dicom_builder import STUDY_UID, uid, write_mr_series
from tests.judges import dciodvfy_errors, dcmqi_segments
from tests.label_cases import speckle
from tests.orthanc import Orthanc, running_orthanc
from tests.study_phantom import oblique_grid, write_study
from tests.unsound_segs import UNSOUND, save, write_seg

pytestmark = pytest.mark.slow

GRID = oblique_grid((12.0, 12.0, 12.0))
GRIDS = dict.fromkeys(Sequence, GRID) | {Sequence.FLAIR: oblique_grid((11.0, 9.0, 13.0), (2.0, 14.0, 5.0))}
SERIES = {s: str(uid(STUDY_UID, s.value, n)) for n, s in enumerate(Sequence, start=1)}
T1C, FLAIR = SERIES[Sequence.T1C], SERIES[Sequence.FLAIR]
MODEL = ModelInfo("brain_tumor_segmentation", "0.3.0", "e" * 64)


@dataclass
class Place:
    """An archive with the study, and a datastore on it with an empty cache."""

    orthanc: Orthanc
    study: Path
    cache: Path

    @property
    def datastore(self) -> ArchiveDatastore:
        return ArchiveDatastore(Archive(self.orthanc.dicomweb), self.cache)

    def newest_seg(self, folder: Path) -> Path:
        info = self.datastore.get_label_info(T1C, "final")
        return self.orthanc.file(info["SOPInstanceUID"], folder / "seg.dcm")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, GRIDS)
    return folder


@pytest.fixture
def place(orthanc: Orthanc, study: Path, tmp_path: Path) -> Iterator[Place]:
    orthanc.send(study)
    yield Place(orthanc, study, tmp_path / "cache")
    orthanc.delete("Study", StudyInstanceUID=str(STUDY_UID))


def drawn(place: Place, folder: Path, labels: NDArray[np.uint8], image_id: str = T1C) -> str:
    """A label file on the grid of an image of the case."""
    case = read_case(place.datastore.get_image_uri(image_id))
    write_volume(case.opened.with_array(labels), folder / "drawn.nii.gz")
    return str(folder / "drawn.nii.gz")


def voxels(path: str) -> NDArray[np.uint8]:
    return np.asarray(nib.load(path).dataobj)


def test_an_annotators_label_is_a_valid_segmentation(place: Place, tmp_path: Path) -> None:
    datastore = place.datastore
    params = {"version": MODEL.version, "weights_sha256": MODEL.weights_sha256}
    datastore.save_label(
        T1C, drawn(place, tmp_path, speckle(GRID, seed=1)), "original", {"model": MODEL.name, "params": params}
    )
    datastore.save_label(T1C, drawn(place, tmp_path, speckle(GRID)), "final", {"user": "anna"})
    path = place.newest_seg(tmp_path)
    assert dciodvfy_errors(path) == []
    seg = hd.seg.segread(path)
    assert seg.segmentation_type == hd.seg.SegmentationTypeValues.BINARY
    assert (str(seg.ContentCreatorName), seg.SeriesDescription) == ("anna^", "Tumor by annotator")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == T1C
    for spec in SEGMENTS:
        found = seg.get_segment_description(spec.number)
        assert found.segmented_property_type.value == spec.type.value
        color = hd.color.CIELabColor.from_dicom_value(found.RecommendedDisplayCIELabValue).to_rgb()
        assert color == pytest.approx(spec.color, abs=2)
        # a correction of what the model found, and the object says of which
        assert found.algorithm_type == hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC
        assert found.algorithm_identification.parameters == {"weights_sha256": MODEL.weights_sha256}


def test_other_readers_find_each_voxel_where_it_was_drawn(place: Place, tmp_path: Path) -> None:
    place.datastore.save_label(FLAIR, drawn(place, tmp_path, speckle(GRIDS[Sequence.FLAIR]), FLAIR), "final", {})
    series = place.study / "FLAIR"
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series))
    picture = sitk.ReadImage(names)
    segments = dcmqi_segments(place.newest_seg(tmp_path), tmp_path / "itk")
    for spec, segment in zip(SEGMENTS, segments, strict=True):
        on_series = sitk.Resample(segment, picture, sitk.Transform(), sitk.sitkNearestNeighbor)
        mask = sitk.GetArrayFromImage(on_series).transpose(2, 1, 0) > 0
        np.testing.assert_array_equal(mask, speckle(GRIDS[Sequence.FLAIR]) == spec.label)


def as_ohif(ds: Dataset) -> Dataset:
    """What an OHIF export leaves of a corrected segmentation: names, places and pixels, later by a minute."""
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid("ohif", ds.SOPInstanceUID)
    ds.SeriesInstanceUID = uid("ohif", ds.SeriesInstanceUID)
    ds.SeriesDescription, ds.ContentCreatorName = "Research Derived series", None
    ds.ContentDate, ds.ContentTime = "20991231", "101500"
    del ds.InstanceCreationDate, ds.InstanceCreationTime
    tissue = Dataset()
    tissue.CodeValue, tissue.CodingSchemeDesignator, tissue.CodeMeaning = "T-D0050", "SRT", "Tissue"
    renumbered = {1: 2, 2: 3, 3: 1}
    for item in ds.SegmentSequence:
        item.SegmentNumber = renumbered[item.SegmentNumber]
        for keyword in (
            "SegmentationAlgorithmIdentificationSequence",
            "RecommendedDisplayCIELabValue",
            "TrackingID",
            "TrackingUID",
            "AnatomicRegionSequence",
        ):
            del item[keyword]
        item.SegmentedPropertyTypeCodeSequence = item.SegmentedPropertyCategoryCodeSequence = [tissue]
    for frame in ds.PerFrameFunctionalGroupsSequence:
        item = frame.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = renumbered[item.ReferencedSegmentNumber]
    return ds


def test_what_a_viewer_stores_past_the_server_counts(place: Place, tmp_path: Path) -> None:
    """Its segments still say AUTOMATIC, as those that were corrected did; a person saved them all the same."""
    datastore = place.datastore
    datastore.save_label(T1C, drawn(place, tmp_path, speckle(GRID, seed=1)), "original", {"model": MODEL.name})
    datastore.save_label(T1C, drawn(place, tmp_path, speckle(GRID, seed=2)), "final", {})
    case = read_case(datastore.get_image_uri(T1C))
    write_segmentation(
        case.opened.with_array(speckle(GRID, seed=3)),
        case.opened.source_images,
        tmp_path / "v" / "seg.dcm",
        series_uid="2.25.77",
        series_number=7,
        description="x",
        model=MODEL,
    )
    as_ohif(dcmread(tmp_path / "v" / "seg.dcm")).save_as(tmp_path / "v" / "seg.dcm")
    place.orthanc.send(tmp_path / "v")
    (pair,) = datastore.datalist()
    np.testing.assert_array_equal(voxels(pair["label"]), speckle(GRID, seed=3))
    np.testing.assert_array_equal(voxels(datastore.get_label_uri(T1C, "original")), speckle(GRID, seed=1))


def test_other_segmentations_are_passed_over(place: Place, tmp_path: Path) -> None:
    datastore = place.datastore
    case = read_case(datastore.get_image_uri(T1C))
    write_segmentation(
        case.opened.with_array(speckle(GRID)),
        case.opened.source_images,
        tmp_path / "v" / "seg.dcm",
        series_uid="2.25.78",
        series_number=7,
        description="x",
        model=MODEL,
    )
    ds = dcmread(tmp_path / "v" / "seg.dcm")
    ds.SegmentSequence[0].SegmentLabel = "Brainstem"
    ds.save_as(tmp_path / "v" / "seg.dcm")
    place.orthanc.send(tmp_path / "v")
    assert datastore.get_labels_by_image_id(T1C) == {}
    assert datastore.status() == {"total": 1, "completed": 0, "label_tags": {}}


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_no_bad_object_counts_or_stops_the_server(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is newer than the annotator's label, and Orthanc takes them all."""
    place.datastore.save_label(T1C, drawn(place, tmp_path, speckle(GRID)), "final", {"user": "anna"})
    # Orthanc leaves NaN out of its answer, and a thickness of NaN is none to the reader of segmentations too.
    changes = [change for name, (change, _) in UNSOUND.items() if name != "slices of NaN"]
    for number, change in enumerate(changes):
        ds = write_seg(tmp_path / "seg.dcm", place.study / "T1c", GRID, np.zeros(GRID.shape, np.uint8))
        ds.InstanceCreationDate, ds.SOPInstanceUID = "20991231", uid("bad", number)
        change(ds)
        save(ds, tmp_path / "bad.dcm")
        answer = requests.post(f"{place.orthanc.rest}/instances", (tmp_path / "bad.dcm").read_bytes(), timeout=30)
        caplog.clear()
        datastore = place.datastore
        assert datastore.list_images() == datastore.get_labeled_images() == [T1C]
        assert datastore.status()["label_tags"] == {"final": 1}
        np.testing.assert_array_equal(voxels(datastore.get_label_uri(T1C, "final")), speckle(GRID))
        assert place.datastore.get_label_info(T1C, "final")["annotator"] == "anna"
        if answer.ok:
            place.orthanc.delete("Instance", SOPInstanceUID=str(ds.SOPInstanceUID))


def test_the_tag_of_a_model_is_not_a_persons(place: Place, tmp_path: Path) -> None:
    ds = write_seg(tmp_path / "seg.dcm", place.study / "T1c", GRID, speckle(GRID))
    ds.SeriesDescription = "Tumor [original]"
    save(ds, tmp_path / "seg.dcm")
    place.orthanc.send(tmp_path)
    assert place.datastore.get_labels_by_image_id(T1C) == {"final": T1C}


def test_images_that_arrive_later_are_fetched(place: Place, tmp_path: Path) -> None:
    """The same datastore, the same id: one slice more, and everything is the new series'."""
    datastore = place.datastore
    before = read_case(datastore.get_image_uri(T1C)).opened
    end = GRID.affine @ [0, 0, GRID.shape[2], 1]
    affine = GRID.affine.copy()
    affine[:3, 3] = end[:3]
    header: dict[str, Any] = {"RepetitionTime": "500", "EchoTime": "12", "ContrastBolusAgent": "Gadobutrol"}
    write_mr_series(
        tmp_path / "more",
        np.full((*GRID.shape[:2], 1), 7.0),
        affine,
        name="T1c",
        series_number=2,
        first_instance=GRID.shape[2] + 1,
        **header,
    )
    place.orthanc.send(tmp_path / "more")
    after = read_case(datastore.get_image_uri(T1C)).opened
    assert after.shape == (*before.shape[:2], before.shape[2] + 1)
    assert (after.array[:, :, -1] == 7.0).all()
    cases = [folder for folder in place.cache.rglob("cases/*") if folder.is_dir()]
    assert len(cases) == 1  # what is superseded is not kept


def test_half_a_study_says_what_is_missing(place: Place) -> None:
    datastore = place.datastore
    datastore.get_image_uri(T1C)
    place.orthanc.delete("Series", SeriesInstanceUID=FLAIR)
    assert datastore.list_images() == []
    with pytest.raises(MissingSequenceError, match="FLAIR was not found among 3 series"):
        datastore.get_image_uri(T1C)
    status = case_status(lambda: datastore.get_image_info(T1C))
    assert (status.ready, status.message, status.missing) == (False, "FLAIR is missing.", ("FLAIR",))
    with pytest.raises(InputNotFoundError, match="no series of this id"):
        datastore.get_image_uri(FLAIR)


def test_a_missing_slice_leaves_no_case(place: Place) -> None:
    gone = dcmread(sorted((place.study / "T2").glob("*.dcm"))[4], stop_before_pixels=True)
    place.orthanc.delete("Instance", SOPInstanceUID=str(gone.SOPInstanceUID))
    assert place.datastore.list_images() == []
    with pytest.raises(Exception, match="missing slices|Neighboring slices") as refusal:
        place.datastore.get_image_uri(T1C)
    assert getattr(refusal.value, "code", "") == "missing-slice"


def test_a_series_that_was_not_chosen_opens_nothing(place: Place, tmp_path: Path) -> None:
    write_mr_series(
        tmp_path / "scout",
        np.full((16, 16, 3), 9.0),
        np.diag([10.0, 10.0, 30.0, 1.0]),
        name="localizer",
        series_number=9,
    )
    place.orthanc.send(tmp_path / "scout")
    assert place.datastore.list_images() == [T1C]
    with pytest.raises(InputNotFoundError, match="none of the four"):
        place.datastore.get_image_uri(str(uid(STUDY_UID, "localizer", 9)))


def test_a_filter_lists_whole_studies_only(place: Place, tmp_path: Path) -> None:
    place.datastore.save_label(T1C, drawn(place, tmp_path, speckle(GRID)), "final", {})
    archive = Archive(place.orthanc.dicomweb)
    patient = str(dcmread(next(place.study.rglob("*.dcm")), stop_before_pixels=True).PatientID)
    for filters, listed in (
        ({"StudyDate": "20200101-20200131", "Modality": "MR"}, [T1C]),
        ({"StudyDate": "20210101-"}, []),
        ({"PatientID": f"{patient[:3]}*"}, [T1C]),
        ({"PatientID": "OTHER*"}, []),
        ({"ModalitiesInStudy": "MR"}, [T1C]),
        ({"ModalitiesInStudy": "CT"}, []),
    ):
        datastore = ArchiveDatastore(archive, place.cache, filters)
        assert datastore.list_images() == datastore.get_labeled_images() == listed
    with pytest.raises(DataError, match="SeriesDescription"):
        ArchiveDatastore(archive, place.cache, {"SeriesDescription": "T1*"})


def test_nothing_is_deleted_from_the_archive(place: Place, tmp_path: Path) -> None:
    datastore = place.datastore
    datastore.save_label(T1C, drawn(place, tmp_path, speckle(GRID)), "final", {})
    changes: list[Any] = [
        lambda: datastore.remove_label(T1C, "final"),
        lambda: datastore.remove_image(T1C),
        lambda: datastore.add_image("x", "x.nii.gz", {}),
    ]
    for change in changes:
        with pytest.raises(DataError, match="archive"):
            change()
    assert datastore.get_labeled_images() == [T1C]


def test_the_cache_is_private_and_names_no_patient(place: Place, tmp_path: Path) -> None:
    place.datastore.get_image_uri(T1C)
    files = list(place.cache.rglob("*"))
    assert not [file for file in files if "phantom" in file.name.lower()]
    (root,) = place.cache.iterdir()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert not [file for file in files if file.name.startswith(".writing-")]


def test_an_archive_that_stops_is_named_so(tmp_path: Path, study: Path) -> None:
    (tmp_path / "orthanc").mkdir()
    with running_orthanc(tmp_path / "orthanc") as server:
        server.send(study)
        datastore = ArchiveDatastore(Archive(server.dicomweb), tmp_path / "cache")
        assert datastore.list_images() == [T1C]
        datastore.get_image_uri(T1C)
    for ask in (datastore.list_images, datastore.status, lambda: datastore.get_image_uri(T1C)):
        with pytest.raises(ArchiveError, match="cannot be reached"):
            ask()
