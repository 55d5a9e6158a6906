"""Servers as processes: started, waited for, told apart and stopped with all that they started."""

from __future__ import annotations

import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from acuity.errors import WorkbenchError
from workbench import services
from workbench.services import Ledger, Process

# A server that starts another process, as MONAI Label does for training.
PARENT = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print('started', flush=True); time.sleep(600)"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "server.log"


@pytest.fixture
def process(log: Path) -> Iterator[Process]:
    started = services.start("server", [sys.executable, "-c", PARENT], 1, log)
    yield started
    services.stop(started)


def test_a_server_is_stopped_with_its_children(process: Process, log: Path) -> None:
    services.wait_for(process, lambda: "started" in log.read_text(), 60, log)
    children = psutil.Process(process.pid).children()
    assert len(children) == 1 and process.alive()
    assert services.stop(process)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == [] and not process.alive()
    assert not services.stop(process)


def test_a_later_process_of_the_same_number_is_not_ours(process: Process) -> None:
    other = Process(process.name, process.pid, process.created - 3600, process.port)
    assert not other.alive() and not services.stop(other)
    assert process.alive()


def test_logs_are_their_owners_alone(process: Process, log: Path) -> None:
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


def test_a_server_that_ends_is_reported_with_its_last_words(log: Path) -> None:
    process = services.start("Orthanc", [sys.executable, "-c", "print('no disk'); raise SystemExit(1)"], 1, log)
    with pytest.raises(WorkbenchError, match=r"Orthanc ended while it started(.|\n)*no disk"):
        services.wait_for(process, lambda: False, 60, log)


def test_a_server_that_does_not_answer_is_reported(process: Process, log: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"did not answer on port 1 within 0 s"):
        services.wait_for(process, lambda: False, 0.1, log)


def test_a_port_in_use_is_named_with_a_remedy() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(WorkbenchError, match=f"Port {port} is in use.*Orthanc needs it.*--orthanc-port"):
            services.check_port("Orthanc", port, "--orthanc-port")
    services.check_port("Orthanc", port, "--orthanc-port")


def test_the_ledger_outlives_the_call(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "processes.json")
    assert ledger.read() == []
    processes = [Process("Orthanc", 1, time.time(), 8471)]
    ledger.write(processes)
    assert Ledger(tmp_path / "processes.json").read() == processes
