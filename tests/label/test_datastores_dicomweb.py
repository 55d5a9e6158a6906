"""An archive that fails: each fault ends in one error that says what was asked, what came, and what to do."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from acuity.errors import ArchiveError, DataError
from label.datastores.archive import ArchiveDatastore
from label.datastores.dicomweb import Archive, checked_uid


@contextmanager
def serving(answer: Callable[[str], tuple[int, bytes]]) -> Iterator[str]:
    """A server that answers with a status and a body to what is asked; it knows nothing of DICOM."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
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


def answering(status: int, body: bytes) -> Any:
    """A server that always answers so."""
    return serving(lambda _: (status, body))


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
    [b"<html>", b"[1, 2]", b'[{"0020000D": {"vr": "UI"}}]'],
    ids=["no JSON", "no dataset", "no series"],
)
def test_an_answer_that_is_none_is_refused(body: bytes) -> None:
    with answering(200, body) as url, pytest.raises((ArchiveError, DataError)) as refusal:
        Archive(url).series("1.2.3")
    assert refusal.value.remedy


@pytest.mark.parametrize("bad", ["../../etc", "abc def", "", "1" * 65])
@pytest.mark.parametrize("level", ["0020000D", "0020000E"])
def test_a_series_whose_uid_is_none_hides_no_other(caplog: pytest.LogCaptureFixture, bad: str, level: str) -> None:
    def series(number: int, **changed: str) -> dict[str, Any]:
        uids = {"0020000D": "1.2", "0020000E": f"1.2.{number}"} | changed
        return {tag: {"vr": "UI", "Value": [value]} for tag, value in uids.items()}

    body = json.dumps([series(1), series(2, **{level: bad}), series(3)]).encode()
    with answering(200, body) as url:
        found = Archive(url).series()
    assert [entry.series_uid for entry in found] == ["1.2.1", "1.2.3"]
    messages = [record.message for record in caplog.records if record.name.startswith("label")]
    assert messages == ["an object of the archive is passed over: one of its UIDs is none"]


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


class TwoStudies:
    """An archive with the MR studies 1.1 and 1.2, of which 1.2 alone matches; filters of series it disregards.

    Offsets it disregards too, as Orthanc does in some searches.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []

    def answer(self, path: str) -> tuple[int, bytes]:
        address = urlsplit(path)
        resource = address.path.removeprefix("/dicom-web/")
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        self.asked.append((resource, query))
        if resource not in ("studies", "series") or query.get("Modality") == "SEG":
            return 200, b"[]"
        studies = ["1.2"] if resource == "studies" else ["1.1", "1.2"]
        found = [
            {
                "0020000D": {"vr": "UI", "Value": [study]},
                "0020000E": {"vr": "UI", "Value": [f"{study}.9"]},
                "00080060": {"vr": "CS", "Value": ["MR"]},
            }
            for study in studies
        ]
        return 200, json.dumps(found).encode()

    def looked_into(self) -> set[str]:
        """The studies whose headers were asked for."""
        return {resource.split("/")[1] for resource, _ in self.asked if resource.endswith("/metadata")}

    def searched(self, resource: str) -> list[dict[str, str]]:
        """The filters of each search, told by its first page."""
        first = [query for asked, query in self.asked if asked == resource and query["offset"] == "0"]
        return [{key: query[key] for key in query.keys() - {"includefield", "offset"}} for query in first]


def test_only_studies_that_match_are_looked_into(tmp_path: Path) -> None:
    archive = TwoStudies()
    with serving(archive.answer) as url:
        filters = {"PatientID": "TRIAL*", "ModalitiesInStudy": "MR", "Modality": "MR"}
        ArchiveDatastore(Archive(url), tmp_path, filters).list_images()
    assert archive.looked_into() == {"1.2"}
    assert archive.searched("studies") == [{"PatientID": "TRIAL*", "ModalitiesInStudy": "MR"}]
    # A series has no ModalitiesInStudy, and archives find none by it.
    assert archive.searched("series") == [{"Modality": kind, "PatientID": "TRIAL*"} for kind in ("MR", "SEG")]


def test_wildcards_are_sent_as_they_are() -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return 200, b"[]"

    with serving(answer) as url:
        Archive(url).studies(PatientID="TRIAL-?&*")
    (path,) = asked
    assert "PatientID=TRIAL-?%26*" in path


def test_without_a_filter_all_studies_are_looked_into(tmp_path: Path) -> None:
    archive = TwoStudies()
    with serving(archive.answer) as url:
        ArchiveDatastore(Archive(url), tmp_path).list_images()
    assert archive.looked_into() == {"1.1", "1.2"}
    assert archive.searched("studies") == []


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"Modality": "CT"}, "filter.Modality is not valid"),
        ({"SeriesDescription": "T1*"}, "filter.SeriesDescription is not valid"),
        ({"PatientID": ""}, "filter.PatientID is not valid"),
        ({"PatientID": " "}, "filter.PatientID is not valid"),
        ({"StudyDate": 20260101}, "filter.StudyDate is not valid"),
        ({"PatientID": ["DOE1", "DOE2"]}, "filter.PatientID is not valid"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(tmp_path: Path, filters: dict[str, Any], found: str) -> None:
    with pytest.raises(DataError) as refusal:
        ArchiveDatastore(Archive("http://127.0.0.1:1/dicom-web"), tmp_path, filters)
    assert found in refusal.value.found and refusal.value.rule
    assert "DOE" not in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "searched"),
    [
        (None, []),
        ("{}", []),
        ('{"Modality": "MR"}', []),
        ('{"PatientID": "TRIAL*"}', [{"PatientID": "TRIAL*"}]),
    ],
)
def test_the_servers_setting_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, searched: list[dict[str, str]]
) -> None:
    """MONAI Label's own default, CT, hides nothing; what somebody sets is searched by."""
    archive = TwoStudies()
    with serving(archive.answer) as url:
        label_app(tmp_path, monkeypatch, url, value).datastore().list_images()
    assert archive.searched("studies") == searched


def label_app(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str, search_filter: str | None) -> Any:
    """The app on an archive, as the server makes it where the environment has this setting."""
    from monailabel.config import Settings
    from monailabel.interfaces import app

    from label import main

    monkeypatch.setenv("MONAI_LABEL_SESSION_PATH", str(folder / "sessions"))
    monkeypatch.delenv("MONAI_LABEL_DICOMWEB_SEARCH_FILTER", raising=False)
    if search_filter is not None:
        monkeypatch.setenv("MONAI_LABEL_DICOMWEB_SEARCH_FILTER", search_filter)
    for module in (app, main):
        monkeypatch.setattr(module, "settings", Settings(_env_file=None))
    return main.AcuityLabel(str(folder), url, {"models": str(folder / "models")})
