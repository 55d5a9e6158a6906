"""A label server in a process of its own, on a free port of loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from label.door import read_or_make_secret

_PATIENCE_S = 900.0  # imports alone take a while on a busy machine


@dataclass(frozen=True)
class Server:
    """One that runs."""

    url: str
    log: Path
    models: Path
    secret: Path

    @property
    def root(self) -> str:
        """Its address without the secret."""
        return self.url.rpartition("/")[0]


@contextmanager
def running_label_server(folder: Path, studies: str, bundles: Path) -> Iterator[Server]:
    """Start it, wait until it answers, and stop it in the end.

    Parameters
    ----------
    folder : for all that it writes
    studies : a folder of cases or the address of an archive
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    secret = folder / "secret"
    url = f"http://127.0.0.1:{port}/{read_or_make_secret(secret)}"
    server = Server(url, folder / "server.log", folder / "models", secret)
    command = [
        sys.executable,
        "-m",
        "label.server",
        "--studies",
        studies,
        "--port",
        str(port),
        "--bundles",
        str(bundles),
        "--models",
        str(server.models),
        "--cache",
        str(folder / "cache"),
        "--secret",
        str(secret),
        "-v",
    ]
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            _wait(process, server)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait(process: subprocess.Popen[bytes], server: Server) -> None:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the label server ended with {process.returncode}:\n{server.log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"{server.url}/info/", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
    raise RuntimeError(f"the label server does not answer:\n{server.log.read_text()[-3000:]}")
