"""Frames of BINARY segmentations come out as they are, whatever the number of pixels of a frame."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from io import BytesIO

import highdicom as hd
import httpx2
import numpy as np
import pytest
from pydicom import dcmread
from requests_toolbelt.multipart.decoder import MultipartDecoder

from tests.workbench.conftest import TOKEN, MakeClient, WriteSeg
from workbench import multipart


class Archive:
    """One object, of a modality."""

    def __init__(self, content: bytes, modality: str) -> None:
        self._content, self._modality = content, modality
        self.asked: list[str] = []

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(re.sub(r"[0-9.]{10,}", "UID", request.url.path.removeprefix("/dicom-web/")))
        if request.url.path.endswith("/series"):
            return httpx2.Response(200, json=[{"00080060": {"vr": "CS", "Value": [self._modality]}}])
        if "/frames/" in request.url.path:
            return httpx2.Response(400, content=self._stream(b"Bad file format"))
        body, kind = multipart.encode([self._content], "application/dicom")
        return httpx2.Response(200, content=body, headers={"content-type": kind})

    async def _stream(self, content: bytes) -> AsyncIterator[bytes]:
        yield content


@pytest.fixture(params=[(7, 5), (8, 6)], ids=["35 pixels", "48 pixels"])
def segmentation(request: pytest.FixtureRequest, write_seg: WriteSeg) -> bytes:
    labels = np.random.default_rng(0).choice([0, 1, 2, 4], (*request.param, 6)).astype(np.uint8)
    return write_seg(labels).read_bytes()


def path_of(content: bytes) -> str:
    ds = dcmread(BytesIO(content), stop_before_pixels=True)
    return f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


def test_each_frame_is_highdicoms(segmentation: bytes, make_client: MakeClient) -> None:
    archive = Archive(segmentation, "SEG")
    client = make_client(archive.handle, TOKEN)
    expected = hd.seg.segread(BytesIO(segmentation)).pixel_array
    for number in (1, 2, len(expected)):
        answer = client.get(f"{path_of(segmentation)}/frames/{number}")
        assert answer.status_code == 200 and 'type="application/octet-stream"' in answer.headers["content-type"]
        (part,) = MultipartDecoder(answer.content, answer.headers["content-type"]).parts
        bits = [part.content[i // 8] >> i % 8 & 1 for i in range(expected[0].size)]  # LSB first, PS3.5 section 8.1.1
        np.testing.assert_array_equal(np.reshape(bits, expected[0].shape), expected[number - 1])
        assert len(part.content) == -(-expected[0].size // 8)
    assert archive.asked == ["studies/UID/series", "studies/UID/series/UID/instances/UID"]  # once for all


def test_several_frames_at_once_and_none_that_is_not_there(segmentation: bytes, make_client: MakeClient) -> None:
    client = make_client(Archive(segmentation, "SEG").handle, TOKEN)
    answer = client.get(f"{path_of(segmentation)}/frames/3,1")
    assert len(MultipartDecoder(answer.content, answer.headers["content-type"]).parts) == 2
    assert client.get(f"{path_of(segmentation)}/frames/1000").status_code == 400


def test_frames_of_images_are_the_archives(segmentation: bytes, make_client: MakeClient) -> None:
    archive = Archive(segmentation, "MR")
    answer = make_client(archive.handle, TOKEN).get(f"{path_of(segmentation)}/frames/1")
    assert answer.text == "Bad file format"
    assert archive.asked == ["studies/UID/series", "studies/UID/series/UID/instances/UID/frames/1"]


def test_an_archive_that_sends_something_else_is_named(segmentation: bytes, make_client: MakeClient) -> None:
    client = make_client(Archive(b"no DICOM", "SEG").handle, TOKEN)
    assert client.get(f"{path_of(segmentation)}/frames/1").json()["code"] == "bad-answer"
