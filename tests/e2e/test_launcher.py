"""`python -m workbench`: all servers up by one command, down by another, and nothing lost between them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from acuity.errors import WorkbenchError
from tests.e2e.launched import Launcher, address
from workbench import viewer_build
from workbench.settings import read_settings

pytestmark = pytest.mark.slow


@pytest.fixture
def launcher(tmp_path: Path, repository: Path) -> Iterator[Launcher]:
    try:
        viewer_build.distribution(read_settings(None, {}).cache)
    except WorkbenchError as error:
        pytest.skip(f"OHIF is not on this machine: {error}")
    launcher = Launcher(tmp_path / "state", repository)
    yield launcher
    launcher.call("down")


def test_up_and_down(launcher: Launcher) -> None:
    assert launcher.call("status").returncode == 3
    first = launcher.call("up")
    if "is not installed" in first.stderr:
        pytest.skip(first.stderr)
    assert first.returncode == 0, first.stderr
    url, _, token = address(first.stdout).partition("/login#token=")
    headers = {"authorization": f"Bearer {token}"}
    assert httpx2.get(f"{url}/monai/info/", headers=headers, timeout=60).json()["name"] == "Acuity"
    assert httpx2.get(f"{url}/dicom-web/studies", headers=headers, timeout=60).json() == []
    assert launcher.call("status").returncode == 0
    assert address(launcher.call("up").stdout) == url  # it runs already; the token is shown once

    assert launcher.call("down").returncode == 0
    for port in launcher.ports.values():
        with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(("127.0.0.1", port))
    again = launcher.call("up")
    assert again.returncode == 0 and address(again.stdout) == url
    assert httpx2.get(f"{url}/dicom-web/studies", headers=headers, timeout=60).status_code == 200  # the same token


def test_a_port_in_use(launcher: Launcher) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", launcher.ports["--label-port"]))
        other.listen()
        done = launcher.call("up")
    assert done.returncode == 80
    assert f"Port {launcher.ports['--label-port']} is in use" in done.stderr and "--label-port" in done.stderr
