"""Bringing the workbench up and down: Orthanc, MONAI Label and the gateway, in this order and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from acuity.errors import WorkbenchError
from workbench import orthanc, viewer_build
from workbench.identity import read_or_make_token
from workbench.services import Service
from workbench.settings import Settings, own_address, save_settings

Say = Callable[[str], None]


class Workbench:
    """The servers of one state folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = s = settings
        own = f"{own_address(s)}/health"
        host = {"host": urlsplit(s.url).netloc}
        self.orthanc = Service(
            "Orthanc", s.orthanc_port, "--orthanc-port", f"{s.dicomweb}/studies?limit=1", s.state, 120.0
        )
        # MONAI Label imports torch, monai and the models, on a small computer that is busy with other things.
        self.label = Service("MONAI Label", s.label_port, "--label-port", f"{s.label_address}/info/", s.state, 600.0)
        self.gateway = Service("Gateway", s.port, "--port", own, s.state, 240.0, host)
        self.services = (self.orthanc, self.label, self.gateway)

    def up(self, say: Say) -> str:
        """Start what does not run; returns the address to open, with the token in it when that is new.

        Raises
        ------
        WorkbenchError
            Where a server cannot be started; those that this call started are stopped again.
        """
        with self._locked():
            for service in self.services:
                if service.moved():
                    service.stop()
            missing = [service for service in self.services if service.process() is None]
            for service in missing:
                service.check_port()
            token, new = read_or_make_token(self._settings.token_file)
            try:
                self._start(missing, say)
            except BaseException:
                _stop(missing, say)
                raise
            shown = new and self._settings.oidc is None
            return f"{self._settings.url}/login#token={token}" if shown else self._settings.url

    def down(self, say: Say) -> bool:
        """Stop all servers; False where none ran."""
        with self._locked():
            return _stop(self.services, say)

    def _start(self, missing: list[Service], say: Say) -> None:
        if self.orthanc in missing:
            self.orthanc.start(orthanc.prepare(self._settings))
        _wait(self.orthanc, say)
        if self.label in missing:
            self.label.start(label_command(self._settings))
        self._load_demo(say)
        if self.gateway in missing:
            self.gateway.start(gateway_command(self._settings))
        _wait(self.gateway, say)
        _wait(self.label, say)

    def _load_demo(self, say: Say) -> None:
        """Store the demo study unless this was done before; whoever deletes it is rid of it."""
        mark = self._settings.state / "demo-loaded"
        if self._settings.demo and not mark.exists():
            from workbench import demo  # it imports torch, which takes seconds

            demo.load(self._settings.dicomweb)
            mark.touch()
            say("The demo study is loaded")

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


def label_command(settings: Settings) -> list[str]:
    """The command that runs the MONAI Label server."""
    s = settings
    # The password stands in a file: every account sees the command line.
    studies = f"http://127.0.0.1:{s.orthanc_port}/dicom-web"
    options: dict[str, object] = {"--studies": studies, "--archive-password": s.archive_password}
    options |= {"--port": s.label_port, "--bundles": s.bundles}
    options |= {"--models": s.state / "models", "--cache": s.state / "cases", "--secret": s.label_secret}
    words = [str(word) for option in options.items() for word in option]
    return [sys.executable, "-m", "label.server", *words, "--verbose"]


def gateway_command(settings: Settings) -> list[str]:
    """The command that runs the gateway; its settings are written and its viewer is fetched."""
    viewer_build.distribution(settings.cache)
    file = settings.state / "gateway.json"
    save_settings(settings, file)
    return [sys.executable, "-m", "workbench.serve", str(file)]


def _wait(service: Service, say: Say) -> None:
    service.wait()
    say(f"{service.name} runs on port {service.port}")


def _stop(services: Sequence[Service], say: Say) -> bool:
    """Stop servers, the last started first; False where none of them ran."""
    stopped = [service for service in reversed(services) if service.stop()]
    for service in stopped:
        say(f"{service.name} is stopped")
    return bool(stopped)
