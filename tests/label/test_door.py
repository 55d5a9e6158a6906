"""The door of the label server, on a real port: who is let in, and for how long, and how much."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from acuity.errors import OutputError
from label import door
from label.door import LOOPBACK, Door, Protocol, read_or_make_secret

SECRET = "s" * 40


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    answer = JSONResponse({"path": scope["path"], "query": request.url.query, "bytes": len(await request.body())})
    await answer(scope, receive, send)


LARGE = 64 << 20


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Without a door: connections are kept."""
    await Response(bytes(LARGE if scope["path"] == "/large" else 1))(scope, receive, send)


@contextmanager
def serving(app: ASGIApp) -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, http=Protocol, lifespan="off", log_level="critical", limit_concurrency=20)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield int(listening.getsockname()[1])
        server.should_exit = True
        thread.join()


@pytest.fixture
def bare_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(door, "HEADER_S", 1.0)
    monkeypatch.setattr(door, "ANSWER_S", 0.5)
    with serving(bare) as port:
        yield port


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server whose patience and measure are small."""
    for name, value in (("HEADER_S", 0.5), ("BODY_S", 0.5), ("MOST_BYTES", 1 << 20)):
        monkeypatch.setattr(door, name, value)
    with serving(Door(echo, SECRET, (*LOOPBACK, "acuity.example"))) as port:
        yield port


def spoken(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """What the server answers to bytes that are sent one after the other, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        answer = b""
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(pause)
            while received := client.recv(1 << 16):
                answer += received
        except (ConnectionError, BrokenPipeError):
            pass
        return answer


def head(*lines: str, path: str = f"/{SECRET}/x", method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


def test_who_knows_the_secret_is_let_in_and_the_application_does_not_see_it(port: int) -> None:
    answer = requests.post(f"http://127.0.0.1:{port}/{SECRET}/datastore/label?image=a", data=b"abc", timeout=5)
    assert answer.json() == {"path": "/datastore/label", "query": "image=a", "bytes": 3}
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "path",
    ["", "/", "info/", "s" * 39, "s" * 41, SECRET.upper() + "/info/", f"x/{SECRET}/info/", f"/{SECRET}/info/", "ü/"],
)
def test_who_does_not_know_the_secret_is_not(port: int, path: str) -> None:
    assert requests.get(f"http://127.0.0.1:{port}/{path}", timeout=5).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:99"}, 200),
        ({"Host": "acuity.example"}, 200),
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1.evil.example"}, 400),
        ({"Host": "acuity.example.evil"}, 400),
        ({"Origin": "http://127.0.0.1:8000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
def test_web_pages_are_kept_out(port: int, headers: dict[str, str], status: int) -> None:
    answer = requests.post(f"http://127.0.0.1:{port}/{SECRET}/x", headers=headers, timeout=5)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "parts",
    [
        (b"",),
        (b"GET / HTTP/1.1\r\nHost: 127.0",),
        tuple(bytes([byte]) for byte in head("X: y")[:12]),
        (head("Content-Length: 10"), b"abc"),
        (head("Transfer-Encoding: chunked"), b"3\r\nabc\r\n"),
        (head("Transfer-Encoding: chunked"), *[b"1\r\na\r\n"] * 12),
    ],
    ids=["silence", "half a header", "a byte at a time", "half a body", "half of the chunks", "a chunk at a time"],
)
def test_a_slow_client_is_cut_off(port: int, parts: tuple[bytes, ...]) -> None:
    started = time.monotonic()
    spoken(port, *parts, pause=0.1)
    assert time.monotonic() - started < 3.0


@pytest.mark.parametrize("second", [b"", b"GET / HTTP/1.1\r\nHost: ", b"GET /slow HTTP/1.1\r\nA: b\r\nC: d"])
def test_a_kept_connection_waits_no_longer(bare_port: int, second: bytes) -> None:
    with socket.create_connection(("127.0.0.1", bare_port), timeout=5) as client:
        client.sendall(head(method="GET"))
        assert b" 200 " in client.recv(1 << 16)
        started = time.monotonic()
        with pytest.raises(ConnectionError):
            for byte in second + b" " * 100:
                client.sendall(bytes([byte]))
                time.sleep(0.1)
    assert time.monotonic() - started < 4.0


def test_a_kept_connection_takes_another_request(bare_port: int) -> None:
    with requests.Session() as session:
        for _ in range(3):
            assert session.get(f"http://127.0.0.1:{bare_port}/", timeout=5).content == b"\0"
            time.sleep(0.6)  # longer than one clock in all


def test_a_client_that_does_not_read_is_cut_off(bare_port: int) -> None:
    with socket.create_connection(("127.0.0.1", bare_port), timeout=10) as client:
        client.sendall(head(method="GET", path="/large"))
        time.sleep(2.0)
        received = 0
        with pytest.raises(ConnectionError):
            while chunk := client.recv(1 << 20):
                received += len(chunk)
            raise ConnectionError("closed")
        assert received < LARGE


def test_a_connection_has_one_request(port: int) -> None:
    """A second header that does not end would not be waited for by the clock of the first."""
    answer = spoken(port, head(method="GET"), b"GET / HTTP/1.1\r\n")
    assert answer.count(b"HTTP/1.1 200") == 1


def test_a_body_has_a_bound(port: int) -> None:
    assert b"413" in spoken(port, head(f"Content-Length: {2 << 20}"))
    chunk = b"40000\r\n" + bytes(0x40000) + b"\r\n"
    assert b" 200 " not in spoken(port, head("Transfer-Encoding: chunked"), *[chunk] * 8, b"0\r\n\r\n")
    whole = requests.post(f"http://127.0.0.1:{port}/{SECRET}/x", data=bytes(1 << 20), timeout=5)
    assert whole.json()["bytes"] == 1 << 20


def test_many_slow_clients_shut_nobody_out_for_long(port: int) -> None:
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\n")
    assert requests.get(f"http://127.0.0.1:{port}/{SECRET}/x", timeout=5).status_code == 503
    time.sleep(1.0)
    assert requests.get(f"http://127.0.0.1:{port}/{SECRET}/x", timeout=5).status_code == 200
    for client in clients:
        client.close()


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "secret"
    secret = read_or_make_secret(file)
    assert len(secret) >= 32 and read_or_make_secret(file) == secret
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0
    assert read_or_make_secret(tmp_path / "other") != secret


@pytest.mark.parametrize(("content", "mode"), [("s" * 40, 0o644), ("s" * 40, 0o660), ("", 0o600), ("a/" * 40, 0o600)])
def test_a_secret_that_is_none_is_refused(tmp_path: Path, content: str, mode: int) -> None:
    (tmp_path / "secret").write_text(content)
    os.chmod(tmp_path / "secret", mode)
    with pytest.raises(OutputError, match="cannot be used"):
        read_or_make_secret(tmp_path / "secret")
