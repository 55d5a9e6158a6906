"""A gateway in front of stand-ins, and clients with and without a right to enter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import generate_uid
from starlette.testclient import TestClient

from acuity.dicom.writing.model_info import ModelInfo
from acuity.dicom.writing.segmentation import write_segmentation
from acuity.volume import Volume
from tests.dicom_builder import oblique_affine, write_mr_series
from tests.workbench.standin import Servers
from workbench.gateway import create_app
from workbench.settings import Settings

URL = "http://127.0.0.1:8470"
TOKEN = "t" * 43

MakeClient = Callable[..., "Client"]
WriteSeg = Callable[[NDArray[np.uint8]], Path]


class Client(TestClient):
    """A client that sends ".." as it is given, which httpx2 would tidy away; others do not."""

    def request(self, method: str, url: Any, **request: Any) -> httpx2.Response:
        path, question, query = str(url).partition("?")
        return super().request(method, path.replace("..", "%2e%2e") + question + query, **request)


@pytest.fixture
def viewer_folder(tmp_path: Path) -> Path:
    """What OHIF's distribution looks like from outside."""
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>OHIF</title><script>inline()</script>")
    (folder / "app.bundle.0f6159c501addfe9.js").write_text("viewer()")
    (folder / "app-config.js").write_text("the distribution's own")
    (tmp_path / "secret.txt").write_text("outside")
    return folder


@pytest.fixture
def make_client(viewer_folder: Path) -> MakeClient:
    """Makes a client of a gateway whose servers are ``handle``, with a bearer token or without."""

    def make(handle: Any, token: str = "", **settings: Any) -> Client:
        made = Settings(state=viewer_folder.parent / "state", cache=viewer_folder.parent, **settings)
        app = create_app(made, viewer_folder, TOKEN, httpx2.MockTransport(handle))
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return Client(app, base_url=URL, headers=headers, follow_redirects=False)

    return make


@pytest.fixture
def servers() -> Servers:
    return Servers()


@pytest.fixture
def stranger(servers: Servers, make_client: MakeClient) -> Client:
    """A client without a credential."""
    return make_client(servers.handle)


@pytest.fixture
def client(servers: Servers, make_client: MakeClient) -> Client:
    """A client with the token."""
    return make_client(servers.handle, TOKEN)


@pytest.fixture
def write_seg(tmp_path: Path, servers: Servers) -> WriteSeg:
    """Writes a segmentation of labels (I, J, K) over an oblique series, whose images the archive has then."""

    def write(labels: NDArray[np.uint8]) -> Path:
        affine = oblique_affine((18.0, 18.0, 5.0))  # few pixels make the width of a head
        files = write_mr_series(tmp_path / "series", np.zeros(labels.shape, np.uint16), affine)
        images = [dcmread(file) for file in files]
        servers.images = [dcmread(file, stop_before_pixels=True) for file in files]
        write_segmentation(
            Volume(labels, affine, str(images[0].FrameOfReferenceUID)),
            images,
            tmp_path / "seg.dcm",
            series_uid=generate_uid(),
            series_number=9,
            description="x",
            model=ModelInfo("m", "1", "0" * 64),
        )
        return tmp_path / "seg.dcm"

    return write
