"""A real Orthanc with DICOMweb, of Debian's packages, on a free loopback port and in a folder of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.workbench.standin import free_port

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_S = 60.0


@dataclass(frozen=True)
class Orthanc:
    """A running server: the addresses of its own REST interface and of DICOMweb."""

    rest: str
    dicomweb: str

    def send(self, folder: Path) -> None:
        """Store every DICOM file below a folder, through the server's own interface (and not DICOMweb)."""
        for file in sorted(folder.rglob("*.dcm")):
            answer = requests.post(f"{self.rest}/instances", data=file.read_bytes(), timeout=30)
            answer.raise_for_status()

    def find(self, level: str, **query: str) -> list[str]:
        """The server's own ids of what matches."""
        content: dict[str, Any] = {"Level": level, "Query": query}
        answer = requests.post(f"{self.rest}/tools/find", json=content, timeout=30)
        answer.raise_for_status()
        found: list[str] = answer.json()
        return found

    def file(self, sop_uid: str, target: Path) -> Path:
        """Write an instance, as it is stored, to ``target``."""
        (instance,) = self.find("Instance", SOPInstanceUID=sop_uid)
        answer = requests.get(f"{self.rest}/instances/{instance}/file", timeout=30)
        answer.raise_for_status()
        target.write_bytes(answer.content)
        return target

    def delete(self, level: str, **query: str) -> None:
        """Delete what matches, as an archive's administrator may."""
        folder = {"Study": "studies", "Series": "series", "Instance": "instances"}[level]
        for found in self.find(level, **query):
            requests.delete(f"{self.rest}/{folder}/{found}", timeout=30).raise_for_status()


@contextmanager
def running_orthanc(folder: Path, **settings: Any) -> Iterator[Orthanc]:
    """Start a server with an empty database in ``folder``; it is gone in the end. Skips where it is not installed.

    ``settings`` are further entries of its configuration.
    """
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not _PLUGIN.exists():
        pytest.skip("Orthanc with DICOMweb is not installed (Debian packages orthanc and orthanc-dicomweb)")
    port = free_port()
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(_configuration(folder / "storage", port) | settings))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([program, str(configuration)], stdout=log, stderr=log)
        try:
            server = Orthanc(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/dicom-web")
            _wait(process, server, folder / "orthanc.log")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=30)


def _configuration(storage: Path, port: int) -> dict[str, Any]:
    return {
        "Name": "Acuity tests",
        "StorageDirectory": str(storage),
        "IndexDirectory": str(storage),
        "Plugins": [str(_PLUGIN)],
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _wait(process: subprocess.Popen[bytes], server: Orthanc, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(f"{server.dicomweb}/studies?limit=1", timeout=5).raise_for_status()
            return
        except requests.RequestException:
            time.sleep(0.1)
    raise RuntimeError(f"Orthanc did not start within {_START_S:g} s:\n{log.read_text()[-2000:]}")
