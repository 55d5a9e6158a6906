"""Bringing the workbench up and down: Orthanc, MONAI Label and the gateway, in this order and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from acuity.errors import WorkbenchError
from workbench import demo, ohif, orthanc, serve, services
from workbench.gateway import GatewaySettings
from workbench.identity import read_or_make_token
from workbench.services import Ledger, Process
from workbench.settings import Settings

# MONAI Label imports torch, monai and the models, on a small computer that is busy with other things.
_ORTHANC_S, _LABEL_S, _GATEWAY_S = 120.0, 600.0, 240.0


@dataclass(frozen=True)
class _Server:
    """How one server is started and asked whether it is well."""

    name: str
    port: int
    flag: str
    seconds: float
    healthy: Callable[[], bool]


class Workbench:
    """The servers of one state folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._logs = settings.state / "logs"
        self._ledger = Ledger(settings.state / "processes.json")
        s, public = settings, urlsplit(settings.url)
        own = f"{'https' if s.certificate else 'http'}://{_reachable(s.host)}:{s.port}/health"
        self._orthanc = _Server(
            "Orthanc",
            s.orthanc_port,
            "--orthanc-port",
            _ORTHANC_S,
            lambda: services.answers(f"{s.dicomweb}/studies?limit=1"),
        )
        self._label = _Server(
            "MONAI Label", s.label_port, "--label-port", _LABEL_S, lambda: services.answers(f"{s.label_address}/info/")
        )
        self._gateway = _Server(
            "Gateway", s.port, "--port", _GATEWAY_S, lambda: services.answers(own, {"host": public.netloc})
        )
        self._servers = (self._orthanc, self._label, self._gateway)

    def up(self, say: Callable[[str], None]) -> str:
        """Start what does not run; returns the address to open, with the token in it when that is new.

        Raises
        ------
        WorkbenchError
            Where a server cannot be started; those that this call started are stopped again.
        """
        with self._locked():
            kept = self._running()
            missing = [server for server in self._servers if server.name not in {p.name for p in kept}]
            for server in missing:
                services.check_port(server.name, server.port, server.flag)
            token, new = read_or_make_token(self._settings.state / "token")
            try:
                self._start_all(missing, token, say)
            except BaseException:
                self._stop([p for p in self._ledger.read() if p not in kept], say)
                self._ledger.write(kept)
                raise
            shown = new and self._settings.oidc is None
            return f"{self._settings.url}/login#token={token}" if shown else self._settings.url

    def down(self, say: Callable[[str], None]) -> bool:
        """Stop all servers; False where none ran."""
        with self._locked():
            stopped = self._stop(self._ledger.read(), say)
            self._ledger.write([])
            return stopped

    def status(self) -> list[tuple[str, int, str]]:
        """Each server's name, port and state: running, not answering or stopped."""
        alive = {process.name for process in self._ledger.read() if process.alive()}
        return [
            (s.name, s.port, "stopped" if s.name not in alive else "running" if s.healthy() else "not answering")
            for s in self._servers
        ]

    def logs(self) -> Path:
        """The folder of the servers' logs."""
        return self._logs

    def token_file(self) -> Path:
        """The file with the token that the login asks for."""
        return self._settings.state / "token"

    def _running(self) -> list[Process]:
        """The servers that run on their ports; one that runs on another port than it should is stopped."""
        ports = {server.name: server.port for server in self._servers}
        alive = [process for process in self._ledger.read() if process.alive()]
        kept = [process for process in alive if process.port == ports.get(process.name)]
        self._stop([process for process in alive if process not in kept], lambda _: None)
        self._ledger.write(kept)
        return kept

    def _start_all(self, missing: list[_Server], token: str, say: Callable[[str], None]) -> None:
        s = self._settings
        if self._orthanc in missing:
            command = orthanc.prepare(s.state / "archive", s.state / "orthanc.json", s.orthanc_port)
            self._start(self._orthanc, command)
        self._wait(self._orthanc, say)
        if self._label in missing:
            self._start(self._label, self._label_command())
        if s.demo and demo.load_once(s.dicomweb, s.state / "demo-loaded"):
            say("The demo study is loaded")
        if self._gateway in missing:
            self._start(self._gateway, self._gateway_command(token))
        self._wait(self._gateway, say)
        self._wait(self._label, say)

    def _gateway_command(self, token: str) -> list[str]:
        s = self._settings
        viewer = ohif.distribution(s.cache)
        gateway = GatewaySettings(s.url, s.dicomweb, s.label_address, viewer, token, s.annotator, s.oidc)
        listen: dict[str, Any] = {"host": s.host, "port": s.port}
        if s.certificate and s.key:
            listen |= {"ssl_certfile": str(s.certificate), "ssl_keyfile": str(s.key)}
        return serve.write(s.state / "gateway.json", gateway, listen)

    def _label_command(self) -> list[str]:
        s = self._settings
        return [
            sys.executable,
            "-m",
            "label.server",
            "--studies",
            s.dicomweb,
            "--port",
            str(s.label_port),
            "--bundles",
            str(s.bundles),
            "--models",
            str(s.state / "models"),
            "--cache",
            str(s.state / "cases"),
            "--secret",
            str(s.label_secret),
            "--verbose",
        ]

    def _start(self, server: _Server, command: list[str]) -> None:
        process = services.start(server.name, command, server.port, self._log(server))
        self._ledger.write([*self._ledger.read(), process])

    def _wait(self, server: _Server, say: Callable[[str], None]) -> None:
        (process,) = (p for p in self._ledger.read() if p.name == server.name)
        services.wait_for(process, server.healthy, server.seconds, self._log(server))
        say(f"{server.name} runs on port {server.port}")

    def _stop(self, processes: list[Process], say: Callable[[str], None]) -> bool:
        """Stop servers, the last started first; False where none of them ran."""
        stopped = [process for process in reversed(processes) if services.stop(process)]
        for process in stopped:
            say(f"{process.name} is stopped")
        return bool(stopped)

    def _log(self, server: _Server) -> Path:
        return self._logs / f"{server.name.split()[-1].lower()}.log"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One call at a time works on a state folder, which is its owner's alone."""
        state = self._settings.state
        try:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            state.chmod(0o700)
            with FileLock(state / "lock", timeout=0):
                yield
        except Timeout as error:
            raise WorkbenchError(
                f"Another call of the workbench works on {state}.",
                rule="One at a time.",
                remedy="Wait until it is done.",
            ) from error
        except PermissionError as error:
            raise WorkbenchError(
                f"The state folder cannot be written to: {error.filename}",
                rule="It is a folder of the user who starts the workbench.",
                remedy="Name another with --state.",
            ) from error


def _reachable(host: str) -> str:
    """The address at which this computer reaches a server that listens on ``host``."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
