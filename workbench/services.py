"""The workbench's servers as processes: started apart from the terminal, waited for, found again and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx2
import psutil

from acuity.errors import WorkbenchError

_REPOSITORY = Path(__file__).resolve().parent.parent
_PATIENCE_S = 0.2  # between two looks
_TERM_S = 30  # until a server that does not stop is killed
_TAIL = 5  # lines of a log that a failure shows
_MOST_LOG = 10 << 20  # bytes; a larger log is put aside when its server starts


@dataclass(frozen=True)
class Process:
    """A running server, told from a later process of the same number by when it was created."""

    name: str
    pid: int
    created: float
    port: int

    def alive(self) -> bool:
        """Whether it still runs."""
        try:
            found = psutil.Process(self.pid)
            return abs(found.create_time() - self.created) < 1.0 and found.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class Ledger:
    """The file that says which servers run, so that another call can stop them."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> list[Process]:
        """Those that were started, in order; some may have ended since."""
        try:
            return [Process(**entry) for entry in json.loads(self._file.read_text())]
        except FileNotFoundError:
            return []

    def write(self, processes: list[Process]) -> None:
        """Replace the list in one step."""
        scratch = self._file.with_suffix(".new")
        scratch.write_text(json.dumps([asdict(process) for process in processes], indent=2))
        os.replace(scratch, self._file)


def check_port(name: str, port: int, flag: str) -> None:
    """Refuse a port that another program has.

    Raises
    ------
    WorkbenchError
        With the port, the server that wants it, and the flag that names another.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            found, rule = f"Port {port} is in use by another program; {name} needs it.", "Each server has its own port."
            remedy = f"Stop that program (ss -ltnp 'sport = :{port}' shows it), or choose another port with {flag}."
            raise WorkbenchError(found, rule=rule, remedy=remedy) from error


def start(name: str, command: list[str], port: int, log: Path) -> Process:
    """Start a server in a session of its own; what it prints goes to ``log``, which only its owner can read."""
    # The servers' packages lie in the repository, which the working folder of a server is not.
    paths = os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if log.exists() and log.stat().st_size > _MOST_LOG:
        os.replace(log, log.with_suffix(".log.1"))
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": paths},
            cwd=log.parent,
            start_new_session=True,
            umask=0o077,
        )
    process = Process(name, child.pid, psutil.Process(child.pid).create_time(), port)
    child.returncode = 0  # it outlives this program, which does not wait for it
    return process


def wait_for(process: Process, healthy: Callable[[], bool], seconds: float, log: Path) -> None:
    """Wait until a server answers.

    Raises
    ------
    WorkbenchError
        Where it ended, or does not answer in time.
    """
    end = time.monotonic() + seconds
    while not healthy():
        ended = not process.alive()
        if ended or time.monotonic() > end:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
            slow = f"{process.name} did not answer on port {process.port} within {seconds:.0f} s."
            found = f"{process.name} ended while it started." if ended else slow
            remedy = f"Look into its log, {log}. It ends with:\n{tail}"
            raise WorkbenchError(found, rule="Every server of the workbench must run.", remedy=remedy)
        time.sleep(_PATIENCE_S)


def answers(url: str, headers: Mapping[str, str] | None = None) -> bool:
    """Whether a server on this computer answers with 200."""
    try:
        # It is this computer's own server that is asked; its certificate is made out to its public name.
        return httpx2.get(url, headers=headers, timeout=5, trust_env=False, verify=False).status_code == 200
    except httpx2.HTTPError:
        return False


def stop(process: Process) -> bool:
    """Stop a server and all that it started; False where it had ended before."""
    if not process.alive():
        return False
    leader = psutil.Process(process.pid)
    os.killpg(process.pid, signal.SIGTERM)  # its session's number is its own
    try:
        leader.wait(_TERM_S)
    except psutil.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        leader.wait(_TERM_S)
    return True
