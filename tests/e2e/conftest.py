"""A workbench with a phantom's study, and a real browser in front of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright
from pydicom import dcmread

from acuity.anatomy import Sequence
from acuity.demo.study import write_demo_study
from acuity.errors import WorkbenchError
from acuity.volume import Volume
from tests.e2e.label_standin import LabelServer
from tests.workbench.standin import free_port, serving
from workbench import demo, orthanc
from workbench.identity import read_or_make_token
from workbench.launcher import Workbench, gateway_command
from workbench.settings import read_settings

SPACING_MM = 2.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, metavar="DIR", help="keep pictures of the workbench in this folder")


@dataclass(frozen=True)
class Running:
    """A workbench: the gateway's address and token, the archive's address, and what the study truly holds.

    Parameters
    ----------
    truth : labels on the grid of all four series
    images : each sequence on that grid
    """

    url: str
    token: str
    dicomweb: str
    study: str
    truth: Volume
    images: dict[Sequence, Volume]
    label: LabelServer


@pytest.fixture(scope="session")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Orthanc and the gateway as the launcher starts them; in place of the models, a stand-in that knows the truth."""
    folder = tmp_path_factory.mktemp("workbench")
    ports = {name: free_port() for name in ("port", "orthanc_port", "label_port")}
    settings = read_settings(None, {"state": folder, "annotator": "Test Annotator", **ports})
    token, _ = read_or_make_token(settings.token_file)
    try:
        commands = orthanc.prepare(settings), gateway_command(settings)
    except WorkbenchError as error:
        pytest.skip(f"the workbench's programs are not on this machine: {error}")
    phantom = write_demo_study(folder / "study", spacing=(SPACING_MM,) * 3, phantom_spacing_mm=SPACING_MM)
    series = [sorted(path.iterdir()) for path in sorted((folder / "study").iterdir())]
    headers = [dcmread(paths[0], stop_before_pixels=True) for paths in series]
    files = {str(header.SeriesInstanceUID): paths for header, paths in zip(headers, series, strict=True)}
    label = LabelServer(phantom.labels, files, settings.dicomweb)
    workbench = Workbench(settings)
    services = workbench.orthanc, workbench.gateway
    try:
        for service, command in zip(services, commands, strict=True):
            service.start(command)
            service.wait()
        for paths in series:
            demo.store(settings.dicomweb, paths)
        study = str(headers[0].StudyInstanceUID)
        with serving(label.app(settings.label_address.rpartition("/")[2]), settings.label_port):
            yield Running(settings.url, token, settings.dicomweb, study, phantom.labels, phantom.volumes, label)
    finally:
        for service in reversed(services):
            service.stop()


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., Browser]]:
    """Starts Debian's Chromium, with further arguments."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed (Debian package chromium)")
    with sync_playwright() as playwright:
        yield lambda *args: playwright.chromium.launch(executable_path=found, args=["--no-sandbox", *args])


@pytest.fixture(scope="session")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder for pictures: that of ``--screenshots``, else a passing one."""
    folder = request.config.getoption("--screenshots", None) or tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return Path(folder)


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row, first and last column that a mask touches."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
