"""What viewers store: corrected segmentations, made whole; nothing else reaches the archive."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import highdicom as hd
import httpx2
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import MRImageStorage
from requests_toolbelt.multipart.decoder import MultipartDecoder

from acuity.anatomy import SEGMENTS
from acuity.dicom.reading.read_seg import read_segmentation
from tests.judges import dciodvfy_errors
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


def refused(client: Client, servers: Servers, *objects: bytes) -> str:
    answer = send(client, *objects)
    assert answer.status_code == 422 and servers.reached == []
    return str(answer.json()["detail"])


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
