"""What viewers store: corrected segmentations, made whole; nothing else reaches the archive."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import httpx2
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, MRImageStorage
from requests_toolbelt.multipart.decoder import MultipartDecoder

from acuity.anatomy import SEGMENTS
from acuity.dicom.reading.read_seg import read_segmentation
from tests.judges import dciodvfy_errors
from tests.unsound_segs import UNSOUND, sets
from tests.workbench.conftest import Client, WriteSeg
from tests.workbench.standin import Servers
from workbench import multipart

STUDIES = "/dicom-web/studies"


def as_bytes(ds: Dataset) -> bytes:
    target = BytesIO()
    ds.save_as(target, enforce_file_format=True)
    return target.getvalue()


@pytest.fixture
def as_ohif_saves_it(write_seg: WriteSeg) -> Dataset:
    """A segmentation of an oblique series, with what OHIF's export loses lost: codes, colors, creator, algorithm."""
    labels = np.zeros((20, 18, 6), np.uint8)
    labels[3:9, 4:8, 1:4] = 2
    labels[5:7, 5:7, 2] = 4
    ds = dcmread(write_seg(labels))
    tissue = hd.sr.CodedConcept("T-D0050", "SRT", "Tissue")
    for item in ds.SegmentSequence:
        item.SegmentedPropertyCategoryCodeSequence = [tissue]
        item.SegmentedPropertyTypeCodeSequence = [tissue]
        item.RecommendedDisplayCIELabValue = [1, 2, 3]
        item.SegmentAlgorithmType, item.SegmentAlgorithmName = "MANUAL", "OHIF Brush"
    ds.ContentCreatorName = "Someone^Else"
    return ds


def packed_by_frame(content: bytes) -> bytes:
    """The same as OHIF writes it: each frame begins at a byte, and references lack codes and class."""
    ds = dcmread(BytesIO(content))
    bits = np.reshape(ds.pixel_array, (int(ds.NumberOfFrames), -1))
    data = np.packbits(bits, axis=1, bitorder="little").tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds.file_meta.ImplementationVersionName = "OHIF-3.11.0"
    for group in ds.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence[0].DerivationCodeSequence
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        del image.PurposeOfReferenceCodeSequence, image.ReferencedSOPClassUID
        image.ReferencedFrameNumber = 1
    return as_bytes(ds)


def send(client: Client, *objects: bytes) -> httpx2.Response:
    body, kind = multipart.encode(objects, "application/dicom")
    return client.post(STUDIES, content=body, headers={"content-type": kind})


def stored(servers: Servers) -> list[Dataset]:
    (reached,) = servers.reached
    parts = MultipartDecoder(reached.body, reached.headers["content-type"]).parts
    return [dcmread(BytesIO(part.content)) for part in parts]


def test_a_correction_reaches_the_archive_whole(
    client: Client, servers: Servers, as_ohif_saves_it: Dataset, tmp_path: Path
) -> None:
    before = as_bytes(as_ohif_saves_it)
    assert send(client, before).status_code == 200
    (ds,) = stored(servers)
    for item, spec in zip(ds.SegmentSequence, SEGMENTS, strict=True):
        code = item.SegmentedPropertyTypeCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator) == (spec.type.value, "SCT")
        color = hd.color.CIELabColor.from_dicom_value(item.RecommendedDisplayCIELabValue)
        assert np.abs(np.subtract(color.to_rgb(clip=True), spec.color)).max() <= 2
        assert item.SegmentAlgorithmType == "MANUAL"
    assert ds.ContentCreatorName.family_name == "Annotator"  # who is logged in, whatever the viewer says
    (tmp_path / "before.dcm").write_bytes(before)
    (tmp_path / "after.dcm").write_bytes(as_bytes(ds))
    one, other = read_segmentation(tmp_path / "before.dcm"), read_segmentation(tmp_path / "after.dcm")
    np.testing.assert_array_equal(one.array, other.array)
    np.testing.assert_array_equal(one.affine, other.affine)
    assert dciodvfy_errors(tmp_path / "after.dcm") == []


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
@pytest.mark.parametrize("shape", [(7, 5), (5, 3), (8, 6)], ids=["35 bits", "15 bits", "48 bits"])
def test_frames_that_ohif_begins_at_bytes_are_packed_without_gaps(
    client: Client, servers: Servers, tmp_path: Path, write_seg: WriteSeg, shape: tuple[int, int], frames: int
) -> None:
    """Else each segment is sheared into pieces wherever rows x columns is no multiple of eight."""
    labels = np.full((*shape, frames), 2, np.uint8)
    labels[::2, 1:, :] = 0
    labels[-1, -1, :] = 2  # the last voxel of a frame lies in its last byte
    sound = write_seg(labels).read_bytes()
    for sent in (packed_by_frame(sound), sound):
        servers.reached.clear()
        assert send(client, sent).status_code == 200
        (ds,) = stored(servers)
        (tmp_path / "after.dcm").write_bytes(as_bytes(ds))
        np.testing.assert_array_equal(
            hd.seg.segread(tmp_path / "after.dcm").pixel_array, hd.seg.segread(BytesIO(sound)).pixel_array
        )
        assert dciodvfy_errors(tmp_path / "after.dcm") == []


def test_pixel_data_of_another_length_is_refused(client: Client, servers: Servers, as_ohif_saves_it: Dataset) -> None:
    as_ohif_saves_it.PixelData += b"\0\0"
    refused(client, servers, as_bytes(as_ohif_saves_it))


def test_a_corrected_result_of_a_model_is_no_longer_automatic(
    client: Client, servers: Servers, as_ohif_saves_it: Dataset
) -> None:
    as_ohif_saves_it.SegmentSequence[0].SegmentAlgorithmType = "AUTOMATIC"
    send(client, as_bytes(as_ohif_saves_it))
    assert stored(servers)[0].SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"


def unsound(ds: Dataset) -> bytes:
    """An object as a file, whose UIDs may be none."""
    target = BytesIO()
    ds.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    ds.save_as(target, enforce_file_format=True)
    return target.getvalue()


def refused(client: Client, servers: Servers, *objects: bytes, status: int = 422) -> str:
    answer = send(client, *objects)
    assert answer.status_code == status and servers.reached == [], answer.text
    return str(answer.json()["detail"])


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("case", UNSOUND)
def test_what_does_not_belong_to_its_study_is_refused(
    client: Client, servers: Servers, as_ohif_saves_it: Dataset, case: str
) -> None:
    """Orthanc would take each, for good, and the newest object is the case's label."""
    UNSOUND[case][0](as_ohif_saves_it)
    said = refused(client, servers, unsound(as_ohif_saves_it))
    assert "phantom" not in said.casefold() and "Other" not in said  # no value of the header


def moved(ds: Dataset, by: tuple[float, float, float]) -> None:
    for group in ds.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        place.ImagePositionPatient = [float(a) + b for a, b in zip(place.ImagePositionPatient, by, strict=True)]


def set_in_first_frame(keyword: str, value: Any) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        group = ds.PerFrameFunctionalGroupsSequence[0]
        (sequence,) = (item for item in group if item.VR == "SQ" and keyword in item.value[0])
        setattr(sequence.value[0], keyword, value)

    return change


@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (sets(Modality="MR"), "modality"),  # it would be a series of images to who searches for them
        (sets(Modality=None), "modality"),
        (sets(SeriesDescription="Tumor [original]"), "brackets"),
        (sets(SeriesDescription="x [ORIGINAL ]"), "brackets"),
        (sets(SeriesInstanceUID="1.2.03"), "UIDs"),
        (sets(NumberOfFrames=10**9, Rows=60000, Columns=60000), "too large"),
        (lambda ds: moved(ds, (0, 0, 60)), "beyond"),
        (lambda ds: moved(ds, (-40, 0, 0)), "beyond"),
        (set_in_first_frame("ImagePositionPatient", [-41.5, 17.25, -61]), "volume"),  # beside the stack
        (set_in_first_frame("ReferencedSegmentNumber", 77), "no segment"),
        (sets(PixelData=b""), ""),
    ],
)
def test_variants_of_what_does_not_belong_are_refused(
    client: Client, servers: Servers, as_ohif_saves_it: Dataset, change: Callable[[Dataset], None], said: str
) -> None:
    change(as_ohif_saves_it)
    assert said in refused(client, servers, unsound(as_ohif_saves_it))


def test_segments_that_overlap_are_refused(client: Client, servers: Servers, as_ohif_saves_it: Dataset) -> None:
    """No reader could tell which label a voxel has."""
    as_ohif_saves_it.PixelData = b"\xff" * len(as_ohif_saves_it.PixelData)
    assert "overlap" in refused(client, servers, as_bytes(as_ohif_saves_it))


def test_no_object_takes_the_place_of_another(client: Client, servers: Servers, as_ohif_saves_it: Dataset) -> None:
    content, image = as_bytes(as_ohif_saves_it), servers.images[0]
    assert "SOP Instance UID" in refused(client, servers, content, content, status=409)
    other = deepcopy(as_ohif_saves_it)
    other.SOPInstanceUID = image.SOPInstanceUID
    assert "SOP Instance UID" in refused(client, servers, as_bytes(other), status=409)
    stranger = deepcopy(image)
    stranger.StudyInstanceUID, stranger.SeriesInstanceUID, stranger.SOPInstanceUID = "1.2.3", "1.2.4", "1.2.5"
    stranger.Modality = "SEG"
    servers.images.append(stranger)
    other.SOPInstanceUID, other.SeriesInstanceUID = "1.2.6", "1.2.4"
    assert "another study" in refused(client, servers, as_bytes(other))


def test_the_address_and_the_object_name_one_study(client: Client, servers: Servers, as_ohif_saves_it: Dataset) -> None:
    body, kind = multipart.encode([as_bytes(as_ohif_saves_it)], "application/dicom")
    for study, status in (("1.2.3", 422), (str(as_ohif_saves_it.StudyInstanceUID), 200)):
        answer = client.post(f"{STUDIES}/{study}", content=body, headers={"content-type": kind})
        assert answer.status_code == status
    assert len(servers.reached) == 1


@pytest.mark.parametrize("parts", [0, 17, 100_000])
def test_a_body_has_one_to_sixteen_parts(client: Client, servers: Servers, parts: int) -> None:
    refused(client, servers, *[b""] * parts)


def test_other_objects_do_not_reach_the_archive(client: Client, servers: Servers, as_ohif_saves_it: Dataset) -> None:
    """An image under the UID of one that is there, or a report, could be stored otherwise."""
    sound = as_bytes(as_ohif_saves_it)
    as_ohif_saves_it.SOPClassUID = as_ohif_saves_it.file_meta.MediaStorageSOPClassUID = MRImageStorage
    assert "corrected segmentations only" in refused(client, servers, sound, as_bytes(as_ohif_saves_it))


def test_label_maps_and_unknown_segments_are_refused(
    client: Client, servers: Servers, as_ohif_saves_it: Dataset
) -> None:
    as_ohif_saves_it.SegmentSequence[1].SegmentLabel = "Segment 2"
    assert "Peritumoral edema" in refused(client, servers, as_bytes(as_ohif_saves_it))
    as_ohif_saves_it.SegmentationType = "FRACTIONAL"
    assert "binary" in refused(client, servers, as_bytes(as_ohif_saves_it))


@pytest.mark.parametrize("content", [b"", b"no DICOM", b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_is_refused(client: Client, servers: Servers, content: bytes) -> None:
    refused(client, servers, content)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/dicom",
        "multipart/related",
        'multipart/related; type="application/dicom"',
        'multipart/related; type="application/dicom+json"; boundary=x',
    ],
)
def test_bodies_of_other_types_are_refused(client: Client, servers: Servers, kind: str) -> None:
    answer = client.post(STUDIES, content=b"--x--", headers={"content-type": kind})
    assert answer.status_code in (415, 422) and servers.reached == []
