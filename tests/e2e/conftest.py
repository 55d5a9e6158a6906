"""A workbench with a phantom's study, and a real browser in front of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
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
from workbench import demo, orthanc, serve, services, viewer_build
from workbench.gateway import GatewaySettings
from workbench.settings import read_settings

SPACING_MM = 2.0
TOKEN = "t" * 43
_START_S = 120.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, metavar="DIR", help="keep pictures of the workbench in this folder")


@dataclass(frozen=True)
class Running:
    """A workbench: the gateway's address, the archive's, and what the study truly holds.

    Parameters
    ----------
    truth : labels on the grid of all four series
    images : each sequence on that grid
    files : of each series by its UID
    """

    url: str
    dicomweb: str
    study: str
    truth: Volume
    images: dict[Sequence, Volume]
    label: LabelServer
    files: dict[str, list[Path]] = field(repr=False)


@pytest.fixture(scope="session")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Orthanc and the gateway as the launcher starts them; in the place of the models, who knows the truth."""
    folder = tmp_path_factory.mktemp("workbench")
    (folder / "logs").mkdir()
    ports = {name: free_port() for name in ("gateway", "orthanc", "label")}
    dicomweb, url = f"http://127.0.0.1:{ports['orthanc']}/dicom-web", f"http://127.0.0.1:{ports['gateway']}"
    try:
        command = orthanc.prepare(folder / "archive", folder / "orthanc.json", ports["orthanc"])
        viewer = viewer_build.distribution(read_settings(None, {}).cache)
    except WorkbenchError as error:
        pytest.skip(f"the workbench's programs are not on this machine: {error}")
    phantom = write_demo_study(folder / "study", spacing=(SPACING_MM,) * 3, phantom_spacing_mm=SPACING_MM)
    series = {path.name: sorted(path.iterdir()) for path in sorted((folder / "study").iterdir())}
    files = {str(dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID): paths for paths in series.values()}
    label = LabelServer(phantom.labels, files, dicomweb)
    gateway = GatewaySettings(url, dicomweb, f"http://127.0.0.1:{ports['label']}", viewer, TOKEN, "Test Annotator")
    started = []
    try:
        for name, what, answer in (
            ("orthanc", command, f"{dicomweb}/studies?limit=1"),
            (
                "gateway",
                serve.write(folder / "gateway.json", gateway, {"host": "127.0.0.1", "port": ports["gateway"]}),
                f"{url}/health",
            ),
        ):
            log = folder / "logs" / f"{name}.log"
            started.append(services.start(name, what, ports[name], log))
            services.wait_for(started[-1], partial(services.answers, answer), _START_S, log)
        for paths in series.values():
            demo.store(dicomweb, paths)
        study = str(dcmread(next(iter(files.values()))[0], stop_before_pixels=True).StudyInstanceUID)
        with serving(label.app(), ports["label"]):
            yield Running(url, dicomweb, study, phantom.labels, phantom.volumes, label, files)
    finally:
        for process in reversed(started):
            services.stop(process)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed (Debian package chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
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
