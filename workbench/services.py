"""The workbench's servers as processes: started apart from the terminal, waited for, found again and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

from acuity.errors import WorkbenchError

_REPOSITORY = Path(__file__).resolve().parent.parent
_PATIENCE_S = 0.2  # between two looks
_TERM_S = 30  # until a server that does not stop is killed
_TAIL = 5  # lines of a log that a failure shows
_MOST_LOG = 10 << 20  # bytes; a larger log is put aside when its server starts


@dataclass(frozen=True)
class Service:
    """One server of the workbench.

    Parameters
    ----------
    name : for messages; its last word names the log
    port, flag : that it listens on, and the option of the command line that names another port
    url, headers : of a request that it answers with 200 when it is well
    folder : of the workbench's state; it holds the log, and a note by which another call finds the process
    seconds : how long it may take to start
    """

    name: str
    port: int
    flag: str
    url: str
    folder: Path
    seconds: float = 120.0
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.folder / "logs" / f"{self.name.split()[-1].lower()}.log"

    def start(self, command: list[str]) -> None:
        """Start it in a session of its own; only the owner can read its log."""
        # The servers' packages lie in the repository, which the working folder of a server is not.
        paths = os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH", "")]))
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.log.exists() and self.log.stat().st_size > _MOST_LOG:
            os.replace(self.log, self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": paths},
                cwd=self.log.parent,
                start_new_session=True,
                umask=0o077,
            )
        child.returncode = 0  # it outlives this program, which does not wait for it
        note = {"pid": child.pid, "created": psutil.Process(child.pid).create_time(), "port": self.port}
        self._note.write_text(json.dumps(note))

    def process(self) -> psutil.Process | None:
        """Its process where it runs, told from a later one of the same number by when it was created."""
        note = self._noted()
        try:
            process = psutil.Process(note["pid"]) if note else None
            if process is None or process.status() == psutil.STATUS_ZOMBIE:
                return None
            return process if abs(process.create_time() - note["created"]) < 1.0 else None
        except psutil.NoSuchProcess:
            return None

    def moved(self) -> bool:
        """Whether it was started on another port than this one."""
        return self._noted().get("port", self.port) != self.port

    def healthy(self) -> bool:
        """Whether it answers its request with 200."""
        try:
            # It is this computer's own server that is asked; its certificate is made out to its public name.
            answer = httpx2.get(self.url, headers=self.headers, timeout=5, trust_env=False, verify=False)
        except httpx2.HTTPError:
            return False
        return answer.status_code == 200

    def state(self) -> str:
        """Running, not answering or stopped."""
        return "stopped" if self.process() is None else "running" if self.healthy() else "not answering"

    def check_port(self) -> None:
        """Refuse a port that another program has.

        Raises
        ------
        WorkbenchError
            With the port, the server that needs it, and the flag that names another.
        """
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                found = f"Port {self.port} is in use by another program; {self.name} needs it."
                remedy = f"Stop that program (ss -ltnp 'sport = :{self.port}' shows it), or give another {self.flag}."
                raise WorkbenchError(found, rule="Each server has a port of its own.", remedy=remedy) from error

    def wait(self) -> None:
        """Wait until it is well.

        Raises
        ------
        WorkbenchError
            Where it ended, or does not answer in time.
        """
        end = time.monotonic() + self.seconds
        while not self.healthy():
            ended = self.process() is None
            if ended or time.monotonic() > end:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL:])
                slow = f"{self.name} did not answer on port {self.port} within {self.seconds:.0f} s."
                found = f"{self.name} ended while it started." if ended else slow
                remedy = f"Look into its log, {self.log}. It ends with:\n{tail}"
                raise WorkbenchError(found, rule="Every server of the workbench must run.", remedy=remedy)
            time.sleep(_PATIENCE_S)

    def stop(self) -> bool:
        """Stop it and all that it started; False where it did not run."""
        process = self.process()
        if process is not None:
            os.killpg(process.pid, signal.SIGTERM)  # its session's number is its own
            try:
                process.wait(_TERM_S)
            except psutil.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(_TERM_S)
        self._note.unlink(missing_ok=True)
        return process is not None

    @property
    def _note(self) -> Path:
        return self.folder / f"{self.log.stem}-process.json"

    def _noted(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._note.read_text()))
        except (FileNotFoundError, ValueError):  # not started, or the note is being written
            return {}
