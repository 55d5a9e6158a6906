"""`python -m workbench`: all servers up by one command, down by another, and nothing lost between them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.launched import Launcher, address

pytestmark = pytest.mark.slow


@pytest.fixture
def launcher(tmp_path: Path, repository: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path / "state", repository)
    yield launcher
    launcher.call("down")


def test_up_and_down(launcher: Launcher) -> None:
    assert launcher.call("status").returncode == 3
    url, _, token = address(launcher.up()).partition("/login#token=")
    headers = {"authorization": f"Bearer {token}"}
    assert httpx2.get(f"{url}/monai/info/", headers=headers, timeout=60).json()["name"] == "Acuity"
    assert httpx2.get(f"{url}/dicom-web/studies", headers=headers, timeout=60).json() == []
    listed = httpx2.get(f"{url}/monai/datastore/?output=all", headers=headers, timeout=60)  # asks the archive
    assert listed.status_code == 200 and str(launcher.state) not in listed.text
    assert launcher.call("status").returncode == 0
    assert address(launcher.up()) == url  # it runs already; the token is shown once

    assert launcher.call("down").returncode == 0
    for port in launcher.ports.values():
        with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(("127.0.0.1", port))
    assert address(launcher.up()) == url
    assert httpx2.get(f"{url}/dicom-web/studies", headers=headers, timeout=60).status_code == 200  # the same token


def test_a_port_in_use(launcher: Launcher) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", launcher.ports["--label-port"]))
        other.listen()
        done = launcher.call("up")
    assert done.returncode == 80
    assert f"Port {launcher.ports['--label-port']} is in use" in done.stderr and "--label-port" in done.stderr
