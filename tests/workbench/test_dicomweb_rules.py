"""Only QIDO-RS, WADO-RS and STOW-RS reach Orthanc, as they were asked."""

from __future__ import annotations

import pytest

from tests.workbench.conftest import Client
from tests.workbench.standin import Servers

S, E, I = "1.2.840.1", "1.2.840.2", "1.2.840.0.3"  # noqa: E741 - study, series, instance


@pytest.mark.parametrize(
    "path",
    [
        "studies",
        "series",
        f"studies/{S}/series",
        f"studies/{S}/series/{E}/metadata",
        f"studies/{S}/series/{E}/instances/{I}",
        f"studies/{S}/series/{E}/instances/{I}/frames/1,2/rendered",
        f"studies/{S}/series/{E}/instances/{I}/bulk/00660023",
        f"studies/{S}/series/{E}/rendered",
    ],
)
def test_reading_passes_with_its_query(client: Client, servers: Servers, path: str) -> None:
    """Without the query, a search for one patient answers with all."""
    query = "PatientID=A%2BB%5E&limit=2&includefield=00081030&includefield=00080060"
    answer = client.get(f"/dicom-web/{path}?{query}", headers={"accept": "application/dicom+json"})
    assert answer.json() == {"fine": True}
    (reached,) = servers.reached
    assert (reached.method, reached.host, reached.path) == ("GET", "orthanc", f"/dicom-web/{path}")
    assert reached.query == query
    assert reached.headers["accept"] == "application/dicom+json"
    assert reached.headers["forwarded"] == 'host="127.0.0.1:8470";proto=http'
    assert reached.headers["connection"] == "close"


@pytest.mark.parametrize(("asked", "passed"), [({"accept-encoding": "gzip"}, "gzip"), ({}, "identity")])
def test_answers_are_packed_only_for_who_can_unpack_them(
    client: Client, servers: Servers, asked: dict[str, str], passed: str
) -> None:
    client.send_default_encodings = False
    client.get("/dicom-web/studies", headers=asked)
    assert servers.reached[0].headers["accept-encoding"] == passed


@pytest.mark.parametrize(
    "path",
    [
        "",
        "instances/",
        "patients",
        "..",
        "../patients",
        "..%2fpatients",
        "%2e%2e/system",
        "..%252fsystem",
        "studies/..",
        "studies/1.2/../../../system",
        "studies//series",
        f"studies/{S}/archive",
        f"studies/{S}/media",
        f"studies/{S}/series/{E}/instances/{I}/file",
        f"studies/{S}/series/{E}/instances/{I}/frames/0",
        f"studies/{S}/series/{E}/instances/{I}/frames/1;2",
        f"studies/{S}/series/{E}/instances/{I}/bulk/../../file",
        "servers/remote/stow",
        "info",
        "studies%3Fx",
        f"studies/{S}%00",
    ],
)
def test_other_paths_do_not_pass(client: Client, servers: Servers, path: str) -> None:
    answer = client.get(f"/dicom-web/{path}")
    assert answer.status_code in (400, 404)
    assert servers.reached == []


@pytest.mark.parametrize(
    "uid", ["1.2.840.01", "1.2..3", ".1", "1.", "1" * 65, "1.2 OR 1", "%2e%2e", "\u0661.2", "1.2%0a", "a"]
)
def test_what_is_no_uid_does_not_pass(client: Client, servers: Servers, uid: str) -> None:
    assert client.get(f"/dicom-web/studies/{uid}/series").status_code in (400, 404)
    assert servers.reached == []


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_deletes_or_replaces(client: Client, servers: Servers, method: str) -> None:
    assert client.request(method, f"/dicom-web/studies/{S}").status_code in (404, 405)
    assert servers.reached == []


def test_posting_to_a_path_that_only_reads_does_not_pass(client: Client, servers: Servers) -> None:
    assert client.post(f"/dicom-web/studies/{S}/series", content=b"").status_code == 404
    assert servers.reached == []


def test_a_query_has_an_end(client: Client) -> None:
    assert client.get("/dicom-web/studies?" + "x" * 8193).status_code == 414


def test_an_answer_that_leads_elsewhere_does_not_pass(client: Client, servers: Servers) -> None:
    servers.status, servers.headers = 307, {"location": "http://orthanc/system"}
    answer = client.get("/dicom-web/studies")
    assert (answer.status_code, answer.json()["code"]) == (502, "redirect")
    assert "location" not in answer.headers
