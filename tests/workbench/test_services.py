"""Servers as processes: started, waited for, told apart and stopped with all that they started."""

from __future__ import annotations

import json
import socket
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from acuity.errors import WorkbenchError
from tests.workbench.standin import free_port
from workbench.services import Service

# A server that starts another process, as MONAI Label does for training.
PARENT = """
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    port = free_port()
    service = Service("Orthanc", port, "--orthanc-port", f"http://127.0.0.1:{port}/", tmp_path, 60.0)
    yield service
    service.stop()


@pytest.fixture
def started(service: Service) -> Service:
    service.start([sys.executable, "-c", PARENT, str(service.port)])
    return service


def test_a_server_is_found_by_another_call_and_stopped_with_its_children(started: Service) -> None:
    started.wait()
    other = replace(started)
    process = other.process()
    assert process is not None and other.state() == "running"
    children = process.children()
    assert len(children) == 1
    assert other.stop()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == [] and started.state() == "stopped"
    assert not started.stop()


def test_a_later_process_of_the_same_number_is_not_ours(started: Service) -> None:
    note = started.folder / "orthanc-process.json"
    kept = note.read_text()
    note.write_text(json.dumps({**json.loads(kept), "created": json.loads(kept)["created"] - 3600}))
    assert started.process() is None and not started.stop()
    note.write_text(kept)
    assert started.process() is not None


def test_a_server_on_another_port_is_told(started: Service) -> None:
    assert not started.moved()
    assert replace(started, port=1).moved()


def test_logs_are_their_owners_alone(started: Service) -> None:
    assert stat.S_IMODE(started.log.parent.stat().st_mode) == 0o700


def test_a_server_that_ends_is_reported_with_its_last_words(service: Service) -> None:
    service.start([sys.executable, "-c", "print('no disk'); raise SystemExit(1)"])
    with pytest.raises(WorkbenchError, match=r"Orthanc ended while it started(.|\n)*no disk"):
        service.wait()


def test_a_server_that_does_not_answer_is_reported(started: Service) -> None:
    slow = replace(started, url="http://127.0.0.1:1/", seconds=0.1)
    with pytest.raises(WorkbenchError, match=rf"did not answer on port {started.port} within 0 s"):
        slow.wait()
    assert slow.state() == "not answering"


def test_a_port_in_use_is_named_with_a_remedy(service: Service) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", service.port))
        other.listen()
        found = f"Port {service.port} is in use.*Orthanc needs it.*--orthanc-port"
        with pytest.raises(WorkbenchError, match=found):
            service.check_port()
    service.check_port()
