"""Bringing the workbench up and down: Orthanc, MONAI Label and the gateway, in this order and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from acuity.errors import WorkbenchError
from workbench import orthanc, services, viewer_build
from workbench.identity import read_or_make_token
from workbench.services import Ledger, Process
from workbench.settings import Settings, save_settings

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Server:
    """How a server is started, waited for and asked whether it is well.

    Parameters
    ----------
    command : makes the command that starts it
    url, headers : of a request that it answers with 200 when it is well
    seconds : how long it may take to start
    """

    name: str
    port: int
    flag: str
    command: Callable[[], list[str]]
    url: str
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)

    def healthy(self) -> bool:
        return services.answers(self.url, self.headers)


class Workbench:
    """The servers of one state folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = s = settings
        self.logs = s.state / "logs"
        self._ledger = Ledger(s.state / "processes.json")
        own = f"{'https' if s.certificate else 'http'}://{_reachable(s.host)}:{s.port}/health"
        host = {"host": urlsplit(s.url).netloc}
        flags = "--orthanc-port", "--label-port", "--port"
        self._orthanc = _Server(
            "Orthanc", s.orthanc_port, flags[0], lambda: orthanc.prepare(s), f"{s.dicomweb}/studies?limit=1", 120.0
        )
        # MONAI Label imports torch, monai and the models, on a small computer that is busy with other things.
        self._label = _Server("MONAI Label", s.label_port, flags[1], self._label_command, f"{s.label}/info/", 600.0)
        self._gateway = _Server("Gateway", s.port, flags[2], lambda: gateway_command(s), own, 240.0, host)
        self._servers = (self._orthanc, self._label, self._gateway)

    def up(self, say: Say) -> str:
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
            token, new = read_or_make_token(self._settings.token_file)
            try:
                self._start_all(missing, say)
            except BaseException:
                self._stop([p for p in self._ledger.read() if p not in kept], say)
                self._ledger.write(kept)
                raise
            shown = new and self._settings.oidc is None
            return f"{self._settings.url}/login#token={token}" if shown else self._settings.url

    def down(self, say: Say) -> bool:
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

    def _running(self) -> list[Process]:
        """The servers that run on their ports; one that runs on another port than it should is stopped."""
        ports = {server.name: server.port for server in self._servers}
        alive = [process for process in self._ledger.read() if process.alive()]
        kept = [process for process in alive if process.port == ports.get(process.name)]
        self._stop([process for process in alive if process not in kept], lambda _: None)
        self._ledger.write(kept)
        return kept

    def _start_all(self, missing: list[_Server], say: Say) -> None:
        self._start(self._orthanc, missing)
        self._wait(self._orthanc, say)
        self._start(self._label, missing)
        self._load_demo(say)
        self._start(self._gateway, missing)
        self._wait(self._gateway, say)
        self._wait(self._label, say)

    def _load_demo(self, say: Say) -> None:
        """Store the demo study unless this was done before; whoever deletes it is rid of it."""
        mark = self._settings.state / "demo-loaded"
        if self._settings.demo and not mark.exists():
            from workbench import demo  # it imports torch, which takes seconds

            demo.load(self._settings.dicomweb)
            mark.touch()
            say("The demo study is loaded")

    def _label_command(self) -> list[str]:
        s = self._settings
        options = {
            "--studies": s.dicomweb,
            "--port": s.label_port,
            "--bundles": s.bundles,
            "--models": s.state / "models",
            "--cache": s.state / "cases",
        }
        words = [str(word) for option in options.items() for word in option]
        return [sys.executable, "-m", "label.server", *words, "--verbose"]

    def _start(self, server: _Server, missing: list[_Server]) -> None:
        if server in missing:
            process = services.start(server.name, server.command(), server.port, self._log(server))
            self._ledger.write([*self._ledger.read(), process])

    def _wait(self, server: _Server, say: Say) -> None:
        (process,) = (p for p in self._ledger.read() if p.name == server.name)
        services.wait_for(process, server.healthy, server.seconds, self._log(server))
        say(f"{server.name} runs on port {server.port}")

    def _stop(self, processes: list[Process], say: Say) -> bool:
        """Stop servers, the last started first; False where none of them ran."""
        stopped = [process for process in reversed(processes) if services.stop(process)]
        for process in stopped:
            say(f"{process.name} is stopped")
        return bool(stopped)

    def _log(self, server: _Server) -> Path:
        return self.logs / f"{server.name.split()[-1].lower()}.log"

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
            found = f"Another call of the workbench works on {state}."
            raise WorkbenchError(found, rule="One at a time.", remedy="Wait until it is done.") from error
        except PermissionError as error:
            found = f"The state folder cannot be written to: {error.filename}"
            rule = "It is a folder of the user who starts the workbench."
            raise WorkbenchError(found, rule=rule, remedy="Name another with --state.") from error


def gateway_command(settings: Settings) -> list[str]:
    """The command that runs the gateway; its settings are written and its viewer is fetched."""
    viewer_build.distribution(settings.cache)
    file = settings.state / "gateway.json"
    save_settings(settings, file)
    return [sys.executable, "-m", "workbench.serve", str(file)]


def _reachable(host: str) -> str:
    """The address at which this computer reaches a server that listens on ``host``."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
