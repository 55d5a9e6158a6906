"""The gateway on a real Orthanc: what is stored, and what other accounts of the computer, hosts and pages reach."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import pytest

from acuity.anatomy import Sequence
from acuity.errors import WorkbenchError
from tests.dicom_builder import uid
from tests.study_phantom import oblique_grid, write_study
from tests.unsound_segs import UNSOUND, save, write_seg
from tests.workbench.standin import free_port, serving
from workbench import demo, multipart, orthanc
from workbench.gateway import create_app
from workbench.launcher import Workbench
from workbench.serve import configure
from workbench.settings import Settings, read_settings

pytestmark = pytest.mark.slow

GRID = oblique_grid((12.0, 12.0, 12.0))
TOKEN = "t" * 43
NAME, NUMBER, DESCRIPTION = "Doe^Jane", "PATIENT-4711", "Brain tumor"


@dataclass(frozen=True)
class Place:
    """A gateway before an archive with one study."""

    settings: Settings
    study: Path

    def count(self) -> dict[str, int]:
        found = httpx2.get(f"{self.settings.orthanc}/statistics", timeout=30).json()
        return {name: value for name, value in found.items() if name.startswith("Count")}

    def store(self, content: bytes) -> httpx2.Response:
        body, kind = multipart.encode([content], "application/dicom")
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": kind}
        return httpx2.post(f"{self.settings.url}/dicom-web/studies", content=body, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("gateway")
    ports = {name: free_port() for name in ("port", "orthanc_port", "label_port")}
    settings = read_settings(None, {"state": folder / "state", "cache": folder, **ports})
    write_study(
        folder / "study",
        dict.fromkeys(Sequence, GRID),
        PatientName=NAME,
        PatientID=NUMBER,
        StudyDescription=DESCRIPTION,
    )
    (folder / "index.html").write_text("<title>OHIF</title>")
    try:
        command = orthanc.prepare(settings)
    except WorkbenchError as error:
        pytest.skip(str(error))
    service = Workbench(settings).orthanc
    try:
        service.start(command)
        service.wait()
        demo.store(settings.dicomweb, sorted((folder / "study").rglob("*.dcm")))
        app = create_app(settings, folder, TOKEN)
        with serving(app, settings.port, configure(app, settings)):
            yield Place(settings, folder / "study")
    finally:
        service.stop()


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_the_archive_takes_a_sound_segmentation_once_and_no_other(place: Place, tmp_path: Path) -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[5:8, 5:8, 4:6] = 4
    before = place.count()
    for number, (change, _) in enumerate(UNSOUND.values()):
        ds = write_seg(tmp_path / "seg.dcm", place.study / "T1c", GRID, labels)
        ds.SOPInstanceUID = uid("unsound", number)
        change(ds)
        save(ds, tmp_path / "bad.dcm")
        answer = place.store((tmp_path / "bad.dcm").read_bytes())
        assert 400 <= answer.status_code < 500, answer.text
        assert NUMBER not in answer.text and NAME not in answer.text
    assert place.count() == before
    write_seg(tmp_path / "seg.dcm", place.study / "T1c", GRID, labels)
    content = (tmp_path / "seg.dcm").read_bytes()
    assert place.store(content).status_code == 200
    assert place.store(content).status_code == 409
    assert place.count()["CountInstances"] == before["CountInstances"] + 1


PATHS = [
    "",
    "patients",
    "instances",
    "studies",
    "system",
    "statistics",
    "changes",
    "exports",
    "tools/dicom-conformance",
]
PATHS += ["dicom-web/studies", "dicom-web/instances", "dicom-web/servers", "app/explorer.html", "plugins", "jobs"]
PATHS += ["modalities", "peers", "queries", "tools/metrics-prometheus", "ui/app/", "wado", "..", "%2e%2e/patients"]
CHANGES = [("POST", path) for path in ("instances", "dicom-web/studies", "tools/shutdown", "tools/reset", "tools/find")]
CHANGES += [
    ("POST", "tools/execute-script"),
    ("POST", "tools/bulk-delete"),
    ("PUT", "system"),
    ("DELETE", "patients/x"),
]


def asked(url: str, *options: str) -> tuple[int, bytes]:
    """The status and the body that another account of this computer gets."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or shutil.which("curl") is None:
        pytest.skip("needs root, setpriv and curl: it asks as another account")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [*nobody, "curl", "-s", "--path-as-is", "-m", "20", "-w", "\n%{http_code}", *options, url]
    body, _, status = subprocess.run(command, capture_output=True, cwd="/").stdout.rpartition(b"\n")
    return int(status), body


@pytest.mark.parametrize("options", [(), ("-H", "Host: evil.example"), ("-H", "Origin: http://evil.example")])
def test_another_account_gets_nothing_of_the_archive(place: Place, options: tuple[str, ...]) -> None:
    """Web pages are no more than that: a browser does not know the password."""
    before = place.count()
    content = str(next((place.study / "T1").glob("*.dcm")))
    root = f"http://127.0.0.1:{place.settings.orthanc_port}"
    for method, path in [("GET", path) for path in PATHS] + CHANGES:
        sent = ("--data-binary", f"@{content}") if method != "GET" else ()
        status, body = asked(f"{root}/{path}", "-X", method, *sent, *options)
        assert status in (401, 403, 404) and NUMBER.encode() not in body and b"Doe" not in body, (method, path, status)
    for login in ("acuity:", "acuity:acuity", "orthanc:orthanc", "admin:admin"):
        assert asked(f"{root}/patients", "-u", login, *options)[0] == 401
    for path in ("dicom-web/studies", "monai/info/", "add", "viewer"):
        assert asked(f"{place.settings.url}/{path}", *options)[0] in (401, 421)
    assert place.count() == before


def test_another_host_gets_nothing_of_the_archive(place: Place) -> None:
    """Orthanc 1.10 listens on all interfaces; it refuses whoever does not come by loopback, with the password too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this computer has no other address")
        address = probe.getsockname()[0]
    url = httpx2.URL(f"{place.settings.orthanc}/patients").copy_with(host=address)
    try:
        answer = httpx2.get(url, timeout=20, trust_env=False)
    except httpx2.HTTPError:
        return  # it does not listen there
    assert answer.status_code in (401, 403) and NUMBER not in answer.text


def test_the_password_is_in_files_of_the_owner_alone(place: Place) -> None:
    state = place.settings.state
    password = place.settings.archive_password.read_text().strip()
    assert json.loads((state / "orthanc.json").read_text())["RegisteredUsers"] == {"acuity": password}
    holding = [file for file in state.rglob("*") if file.is_file() and password.encode() in file.read_bytes()]
    assert {file.name for file in holding} == {"archive-password", "orthanc.json"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in holding)


def test_addresses_in_answers_lead_through_the_gateway(place: Place) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    (study,) = httpx2.get(f"{place.settings.url}/dicom-web/studies", headers=headers, timeout=30).json()
    address = study["00081190"]["Value"][0]
    assert address.startswith(f"{place.settings.url}/dicom-web/studies/")
    assert httpx2.get(address, headers=headers, timeout=30).status_code == 200
    query = "includefield=00081030%2C00080060"
    found = httpx2.get(f"{place.settings.url}/dicom-web/studies?{query}", headers=headers, timeout=30).json()
    assert found[0]["00081030"]["Value"] == [DESCRIPTION]
