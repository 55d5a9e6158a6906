"""The gateway over real connections: bodies pass as streams, and addresses as they come."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from label import door
from tests.workbench.conftest import TOKEN
from tests.workbench.standin import free_port, serving
from workbench.gateway import create_app
from workbench.serve import configure
from workbench.settings import Settings

HEADERS = {"authorization": f"Bearer {TOKEN}"}
PART = b"x" * 65536


@dataclass
class Archive:
    """Sends one part of a study, and the next when it is told to."""

    go_on: threading.Event = field(default_factory=threading.Event)
    paths: list[str] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        self.paths.append(request.scope["raw_path"].decode())
        return StreamingResponse(self._parts(), media_type="application/octet-stream")

    async def _parts(self) -> AsyncIterator[bytes]:
        yield PART
        await anyio.to_thread.run_sync(self.go_on.wait, 30)
        yield PART


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def port(archive: Archive, viewer_folder: Path) -> Iterator[int]:
    """Of a gateway; nothing listens where it looks for MONAI Label."""
    own, behind, nobody = free_port(), free_port(), free_port()
    settings = Settings(viewer_folder, viewer_folder, port=own, orthanc_port=behind, label_port=nobody)
    with ExitStack() as running:
        running.enter_context(serving(Starlette(routes=[Route("/{path:path}", archive.answer)]), behind))
        app = create_app(settings, viewer_folder, TOKEN)
        running.enter_context(serving(app, own, configure(app, settings)))
        yield own


def test_an_answer_passes_while_it_comes(archive: Archive, port: int) -> None:
    """A study of hundreds of MiB must not be held in memory; what waits for its end would wait here for ever."""
    url = f"http://127.0.0.1:{port}/dicom-web/studies/1.2.3"
    with httpx2.stream("GET", url, headers=HEADERS, timeout=20) as answer:
        parts = answer.iter_raw()
        assert next(parts)
        archive.go_on.set()
        assert sum(map(len, parts)) > 0


@pytest.mark.parametrize(
    "target",
    [
        "/dicom-web/../system",
        "/dicom-web/studies/../../system",
        "//system",
        "/dicom-web/%2e%2e/system",
        "/dicom-web/./studies",
    ],
)
def test_an_address_that_clients_would_tidy_reaches_nothing(archive: Archive, port: int, target: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", target, headers=HEADERS)
    answer = connection.getresponse()
    assert answer.status == 404 or b"<title>OHIF" in answer.read()
    connection.close()
    assert archive.paths == []


def test_a_server_that_is_down_is_named(port: int) -> None:
    answer = httpx2.get(f"http://127.0.0.1:{port}/monai/info/", headers=HEADERS, timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (502, "unreachable")
    assert "MONAI Label cannot be reached" in answer.json()["detail"]


SLOW_LOGIN = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 43\r\n"
SLOW_LOGIN += b"Origin: http://127.0.0.1:%d\r\n\r\nx"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: ", SLOW_LOGIN], ids=["silence", "header", "login"])
def test_clients_that_nobody_knows_are_cut_off(port: int, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Each connection takes a file of the gateway, which has a thousand on many computers."""
    monkeypatch.setattr(door, "HEADER_S", 0.5)
    monkeypatch.setattr(door, "BODY_S", 0.5)
    clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(100)]
    for client in clients:
        client.sendall(sent.replace(b"%d", str(port).encode()))
    assert httpx2.get(f"http://127.0.0.1:{port}/health", timeout=20).status_code == 200
    for client in clients:
        with client:
            answer = b"".join(iter(partial(client.recv, 4096), b""))  # until it is closed
            assert answer == b"" or b" 408 " in answer
