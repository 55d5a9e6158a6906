"""An archive that fails: each fault ends in one error that says what was asked, what came, and what to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from acuity.errors import ArchiveError, DataError
from label.datastores.dicomweb import Archive, checked_uid


@contextmanager
def answering(status: int, body: bytes, content_type: str = "application/dicom+json") -> Iterator[str]:
    """A server that always answers so; it counts nothing and knows nothing of DICOM."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep still."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, "a user and a password"), (403, "grant the right"), (404, "may have been deleted"), (500, "archive's log")],
)
def test_a_refusal_names_the_status_and_a_remedy(status: int, remedy: str) -> None:
    with answering(status, b"Jane Doe 1970") as url, pytest.raises(ArchiveError) as refusal:
        Archive(url).series("1.2.3")
    assert f"HTTP status {status}" in refusal.value.found
    assert remedy in refusal.value.remedy
    assert "Jane" not in str(refusal.value)  # what the archive says may name patients


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[1, 2]", b'[{"0020000D": {"vr": "UI"}}]', b'[{"0020000E": {"vr": "UI", "Value": ["../../etc"]}}]'],
    ids=["no JSON", "no dataset", "no series", "a path for a UID"],
)
def test_an_answer_that_is_none_is_refused(body: bytes) -> None:
    with answering(200, body) as url, pytest.raises((ArchiveError, DataError)) as refusal:
        Archive(url).series("1.2.3")
    assert refusal.value.remedy


def test_an_archive_that_is_down_is_named_so() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ArchiveError, match="cannot be reached") as refusal:
        Archive(f"http://127.0.0.1:{port}/dicom-web").series("1.2.3")
    assert refusal.value.code == "archive"
    assert "Start it" in refusal.value.remedy


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ArchiveError, match="address of the archive"):
        Archive("ftp://127.0.0.1/x")


@pytest.mark.parametrize("text", ["", "1.2.", "1..2", "1.2/3", "../1", "1.2\n", "a", "1" * 65, "1.2?x=1"])
def test_what_is_no_uid_never_reaches_an_address(text: str) -> None:
    with pytest.raises(DataError, match="is no UID"):
        checked_uid(text)
