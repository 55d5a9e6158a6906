"""The workbench as its command line brings it up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.workbench.standin import free_port


class Launcher:
    """The command line on a state folder and ports of its own."""

    def __init__(self, state: Path, repository: Path) -> None:
        self.state, self._repository = state, repository
        self.ports = {flag: free_port() for flag in ("--port", "--orthanc-port", "--label-port")}

    def call(self, command: str) -> subprocess.CompletedProcess[str]:
        words = [word for flag, port in self.ports.items() for word in (flag, str(port))]
        return subprocess.run(
            [sys.executable, "-m", "workbench", command, "--state", str(self.state), "--no-demo", *words],
            cwd=self._repository,
            capture_output=True,
            text=True,
            timeout=900,
        )

    def up(self) -> str:
        """Start all servers; what the command line says. Skips where a program is not on this machine."""
        done = self.call("up")
        if "is not installed" in done.stderr or "could not be fetched" in done.stderr:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout


def address(output: str) -> str:
    """What the command line says is to be opened."""
    (line,) = (line for line in output.splitlines() if line.startswith("Open "))
    return line.removeprefix("Open ")
