"""A stand-in for Orthanc and MONAI Label: answers everything and keeps what reached it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import uvicorn
from pydicom import Dataset
from requests_toolbelt.multipart.decoder import MultipartDecoder
from starlette.applications import Starlette

_NAMES = {8471: "orthanc", 8472: "label"}


@dataclass
class Reached:
    """One request as it came out of the gateway."""

    method: str
    server: str
    path: str
    query: str
    headers: httpx2.Headers
    body: bytes

    def form(self) -> dict[str, tuple[str | None, bytes]]:
        """Field: (file name, content)."""
        found = {}
        for part in MultipartDecoder(self.body, self.headers["content-type"]).parts:
            head = Message()
            head["content-disposition"] = part.headers[b"Content-Disposition"].decode()
            name = head.get_param("name", header="content-disposition")
            found[str(name)] = head.get_filename(), part.content
        return found


@dataclass
class Servers:
    """What they say next, and what came to them.

    ``images`` are headers that the archive answers searches with, which then are not noted; without them it says to a
    search what it says to all.
    """

    images: list[Dataset] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    body: bytes = b'{"fine": true}'
    reached: list[Reached] = field(default_factory=list)

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        url, body = request.url, await request.aread()
        path, server = url.raw_path.decode().partition("?")[0], _NAMES[url.port or 0]
        if server == "label":  # its addresses begin with the secret that it shares with the gateway
            secret, _, path = path.removeprefix("/").partition("/")
            assert len(secret) >= 32
            path = f"/{path}"
        if self.images and server == "orthanc" and request.method == "GET":
            return httpx2.Response(200, json=self._found(path, url.query.decode()))
        self.reached.append(Reached(request.method, server, path, url.query.decode(), request.headers, body))
        return httpx2.Response(self.status, headers=self.headers, content=self.stream())

    def _found(self, path: str, query: str) -> list[dict[str, Any]]:
        """What DICOMweb finds among the images by UIDs; a series once."""
        folders = path.removeprefix("/dicom-web/").split("/")
        names = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}
        wanted = {names[k]: v for k, v in zip(folders, folders[1:], strict=False) if k in names}
        wanted |= {k: v for k, v in parse_qsl(query) if k in names.values()}
        found = [ds for ds in self.images if all(ds[k].value == v for k, v in wanted.items())]
        if folders[-1] == "series":
            found = list({ds.SeriesInstanceUID: ds for ds in found}.values())
        return [ds.to_json_dict() for ds in found]

    async def stream(self) -> AsyncIterator[bytes]:
        """The body, as a stream."""
        yield self.body


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(app: Starlette, port: int, config: uvicorn.Config | None = None) -> Iterator[None]:
    """Serve on a loopback port while the context lasts, by a configuration where one is given."""
    plain = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", log_config=None)
    server = uvicorn.Server(config or plain)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive() and time.monotonic() < end, "the stand-in did not start"
        time.sleep(0.05)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)
