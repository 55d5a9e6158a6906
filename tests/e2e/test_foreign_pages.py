"""Pages of strangers, in a real browser that is logged in, change and read nothing: requests across sites, rebinding.

The browser's own guard before addresses of this computer is off: not all browsers have one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from label.door import LOOPBACK, Door
from tests.dicom_builder import axial_affine, phantom, uid, write_mr_series
from tests.e2e.conftest import Running
from tests.e2e.viewer import logged_in
from tests.workbench.standin import free_port, serving

pytestmark = pytest.mark.slow

STRANGER = "stranger.example"  # a name that leads to this computer, as after DNS rebinding
SECRET = "s" * 43
_OFF = "LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights"


@dataclass
class Label:
    """What reaches the label server behind its door."""

    port: int
    reached: list[str] = field(default_factory=list)

    async def __call__(self, request: Request) -> Response:
        self.reached.append(f"{request.method} {request.url.path}")
        return JSONResponse({"name": "Acuity"})


@pytest.fixture(scope="module")
def label() -> Iterator[Label]:
    """A server behind the real door of the label server."""
    label = Label(free_port())
    methods = ["GET", "POST", "PUT", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", label.__call__, methods=methods)])
    with serving(Door(app, SECRET, LOOPBACK), label.port):  # type: ignore[arg-type]
        yield label


@pytest.fixture(scope="module")
def stranger() -> Iterator[int]:
    """The port of a stranger's page."""
    port = free_port()
    with serving(Starlette(routes=[Route("/", lambda _: HTMLResponse("<title>A stranger's page</title>"))]), port):
        yield port


@pytest.fixture(scope="module")
def rebound(launch: Callable[..., Browser]) -> Iterator[Browser]:
    """A browser to which the stranger's name is this computer."""
    browser = launch(f"--host-resolver-rules=MAP {STRANGER} 127.0.0.1", f"--disable-features={_OFF}")
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(workbench: Running, rebound: Browser) -> Iterator[Page]:
    """A page of a person who is logged in."""
    page = logged_in(rebound, workbench.url, workbench.token)
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound image of a patient whom nobody knows."""
    folder = tmp_path_factory.mktemp("image")
    write_mr_series(folder, phantom((24, 20, 6)), axial_affine(), study_uid=uid("stranger"), PatientID="STRANGER")
    return Path(min(folder.iterdir())).read_bytes()


def attempts(workbench: Running) -> list[tuple[str, str, str]]:
    """Method, path and body (a word for the image, else text) of what would change something, of all three servers."""
    rest = workbench.dicomweb.removesuffix("/dicom-web")
    patients = httpx2.get(f"{rest}/patients", timeout=60).json()
    return [
        ("POST", "/tools/bulk-delete", json.dumps({"Resources": patients})),
        ("DELETE", f"/patients/{patients[0]}", ""),
        ("POST", "/instances", "image"),
        ("POST", "/dicom-web/studies", "image"),
        ("PUT", f"/patients/{patients[0]}/metadata/1024", "x"),
        ("POST", "/tools/reset", ""),
        ("POST", "/add", "image"),
        ("POST", "/logout", ""),
        ("POST", "/monai/train/tumor_segmentation", "{}"),
        ("POST", f"/monai/infer/tumor_segmentation?image={workbench.study}", "{}"),
        ("DELETE", "/monai/infer/", ""),
        ("POST", "/train/tumor_segmentation", "{}"),
        ("PUT", "/session/?uncompress=true", "x"),
        ("POST", f"/{'x' * 43}/train/tumor_segmentation", "{}"),
        ("POST", "/tools/shutdown", ""),
    ]


# Requests that need no permission of the server: without reading the answer, with cookies, as text; and as forms.
ASK = """async ([root, attempts, image]) => {
    const bytes = Uint8Array.from(atob(image), (c) => c.charCodeAt(0));
    const read = [];
    for (const [method, path, text] of attempts) {
        const body = text === "image" ? new Blob([bytes], { type: "text/plain" }) : text;
        for (const mode of ["no-cors", "cors"]) {
            const options = { method, mode, credentials: "include", body };
            const answer = await fetch(root + path, options).catch(() => null);
            if (answer?.ok) read.push([mode, method, path, answer.status]);
        }
        for (const enctype of ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"]) {
            if (method !== "POST") continue;
            const form = document.createElement("form");
            const frame = document.createElement("iframe");
            frame.name = `f${Math.random()}`;
            Object.assign(form, { method, action: root + path, enctype, target: frame.name });
            const field = document.createElement("input");
            Object.assign(field, { name: text || "x", value: "x" });
            form.append(field);
            document.body.append(frame, form);
            const loaded = new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 1500); });
            form.submit();
            await loaded;
        }
    }
    for (const path of ["/patients", "/system", "/dicom-web/studies", "/monai/info/", "/info/", "/instances"]) {
        const answer = await fetch(root + path, { credentials: "include" }).catch(() => null);
        if (answer?.ok) read.push(["read", "GET", path, answer.status]);
    }
    return read;
}"""


def state(workbench: Running, label: Label, page: Page) -> dict[str, Any]:
    """What the servers hold and were asked, and whether the person is still logged in."""
    rest = workbench.dicomweb.removesuffix("/dicom-web")
    archive = httpx2.get(f"{rest}/statistics", timeout=60).json()
    changes = httpx2.get(f"{rest}/changes?limit=100000", timeout=60).json()["Changes"]
    still = page.context.request.get(f"{workbench.url}/add").status
    return {
        "archive": {name: count for name, count in archive.items() if name.startswith("Count")},
        # Orthanc also notes, after a while, that what was stored has not changed since.
        "changes": sum(not change["ChangeType"].startswith("Stable") for change in changes),
        "asked": list(workbench.label.asked),
        "reached": list(label.reached),
        "logged in": still,
    }


def roots(workbench: Running, label: Label, host: str) -> dict[str, str]:
    addresses = {"gateway": workbench.url, "orthanc": workbench.dicomweb, "label": f"http://127.0.0.1:{label.port}"}
    return {name: f"http://{host}:{httpx2.URL(address).port}" for name, address in addresses.items()}


SERVERS = ["gateway", "label", "orthanc"]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("host", [STRANGER, "127.0.0.1"])
def test_a_page_of_another_site_or_port_changes_nothing(
    page: Page, workbench: Running, label: Label, stranger: int, image: bytes, server: str, host: str
) -> None:
    """From the same host by another port, too: the session's cookie comes along then."""
    before = state(workbench, label, page)
    page.goto(f"http://{host}:{stranger}/")
    root = roots(workbench, label, "127.0.0.1")[server]
    read = page.evaluate(ASK, [root, attempts(workbench), base64.b64encode(image).decode()])
    assert read == []
    assert state(workbench, label, page) == before


@pytest.mark.parametrize("server", SERVERS)
def test_a_name_that_leads_here_opens_nothing(
    page: Page, workbench: Running, label: Label, image: bytes, server: str
) -> None:
    """DNS rebinding: to the browser the server is then the stranger's own."""
    before = state(workbench, label, page)
    root = roots(workbench, label, STRANGER)[server]
    answer = page.goto(f"{root}/")
    assert answer is not None and answer.status >= 400
    read = page.evaluate(ASK, [root, attempts(workbench), base64.b64encode(image).decode()])
    assert read == []
    assert state(workbench, label, page) == before
