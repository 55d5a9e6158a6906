"""A gateway in front of stand-ins, and clients with and without a right to enter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partialmethod
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from tests.workbench.standin import LABEL, ORTHANC, Servers
from workbench.gateway import GatewaySettings, create_app

URL = "http://127.0.0.1:8470"
TOKEN = "t" * 43


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
def servers() -> Servers:
    return Servers()


class Client:
    """A client of an ASGI application, one request at a time, without a server between them."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self.cookies = httpx2.Cookies()
        self.headers: dict[str, str] = {}
        self.send_default_encodings = True  # httpx2 asks for gzip by itself

    def request(self, method: str, path: str, *, headers: Mapping[str, str] = {}, **request: Any) -> httpx2.Response:
        address, question, query = path.partition("?")
        path = address.replace("..", "%2e%2e") + question + query  # httpx2 would tidy it away; others do not

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(self._app)
            content = request.pop("content", None)
            if isinstance(content, Iterator):
                request["content"] = _chunks(content)
            elif content is not None:
                request["content"] = content
            async with httpx2.AsyncClient(transport=transport, base_url=URL, cookies=self.cookies) as client:
                if not self.send_default_encodings:
                    del client.headers["accept-encoding"]
                answer = await client.request(method, path, headers={**self.headers, **headers}, **request)
                self.cookies = client.cookies
                return answer

        return asyncio.run(send())

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    put = partialmethod(request, "PUT")
    options = partialmethod(request, "OPTIONS")


async def _chunks(content: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in content:
        yield chunk


@pytest.fixture
def stranger(servers: Servers, viewer_folder: Path) -> Client:
    """A client without a credential."""
    return Client(create_app(GatewaySettings(URL, ORTHANC, LABEL, viewer_folder, TOKEN), servers.client()))


@pytest.fixture
def client(stranger: Client) -> Client:
    """The same with the token."""
    stranger.headers["authorization"] = f"Bearer {TOKEN}"
    return stranger
