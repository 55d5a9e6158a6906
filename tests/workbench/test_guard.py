"""Nobody passes without a valid credential, from another host, from another origin, or with too much."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.from_thread
import httpx2
import pytest

from acuity.errors import WorkbenchError
from tests.workbench.conftest import TOKEN, URL, Client
from tests.workbench.standin import Servers
from workbench.gateway import create_app
from workbench.identity import Identity, Sessions, read_or_make_token
from workbench.settings import Settings

STUDIES = "/dicom-web/studies"


def log_in(client: Client) -> None:
    answer = client.post("/login", content=TOKEN, headers={"origin": URL})
    assert answer.status_code == 204, answer.text


@pytest.mark.parametrize("path", ["/", "/viewer", "/app-config.js", STUDIES, "/monai/info/", "/logout"])
def test_without_a_credential_nothing_is_served(stranger: Client, servers: Servers, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert answer.json()["code"] == "no-identity"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert servers.reached == []


def test_a_browser_is_led_to_the_login_page(stranger: Client) -> None:
    answer = stranger.get("/viewer", headers={"accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    page = stranger.get("/login")
    assert "Token" in page.text and "<script>" not in page.text  # the policy runs no inline script
    assert stranger.get("/login/login.js").status_code == 200
    assert stranger.get("/login/..%2Fgateway.py").status_code in (401, 404)


@pytest.mark.parametrize("credential", ["Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ", TOKEN])
def test_another_credential_is_none(stranger: Client, credential: str) -> None:
    assert stranger.get(STUDIES, headers={"authorization": credential}).status_code == 401


def test_the_token_opens_and_stays_with_the_gateway(client: Client, servers: Servers) -> None:
    assert client.get(STUDIES, headers={"cookie": "a=b"}).status_code == 200
    assert "cookie" not in servers.reached[0].headers
    assert servers.reached[0].headers["authorization"].startswith("Basic ")  # the gateway's own login


def test_a_session_begins_with_the_token_and_ends_with_logging_out(stranger: Client) -> None:
    wrong = stranger.post("/login", content="wrong", headers={"origin": URL})
    assert wrong.status_code == 401 and "set-cookie" not in wrong.headers
    answer = stranger.post("/login", content=TOKEN, headers={"origin": URL})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert stranger.get(STUDIES).status_code == 200
    kept = dict(stranger.cookies)
    assert stranger.post("/logout", headers={"origin": URL}).status_code == 204
    stranger.cookies.update(kept)  # a cookie that someone kept is of no use
    assert stranger.get(STUDIES).status_code == 401


@pytest.mark.parametrize("origin", [None, "http://evil.example", "http://127.0.0.1:9999", "null"])
def test_a_session_changes_nothing_for_another_site(stranger: Client, servers: Servers, origin: str | None) -> None:
    """Another port of the same host is another origin but the same site: the cookie comes along."""
    log_in(stranger)
    headers = {} if origin is None else {"origin": origin}
    answer = stranger.post("/monai/train/tumor_segmentation", json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "other-origin")
    assert servers.reached == []
    assert stranger.post("/monai/train/tumor_segmentation", json={}, headers={"origin": URL}).status_code == 200


def test_another_site_cannot_log_a_browser_in(stranger: Client) -> None:
    answer = stranger.post("/login", content=TOKEN, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["evil.example:8470", "127.0.0.1", "localhost:8470"])
def test_another_host_is_refused(client: Client, servers: Servers, host: str) -> None:
    """A page of evil.example, whose name is made to lead to 127.0.0.1, could read everything."""
    answer = client.get(STUDIES, headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "other-host")
    assert servers.reached == []


def test_no_other_origin_may_read(client: Client, servers: Servers) -> None:
    """MONAI Label lets every origin read, with credentials: its headers do not pass."""
    servers.headers["access-control-allow-origin"] = "http://evil.example"
    servers.headers |= {"access-control-allow-credentials": "true", "set-cookie": "stolen=1", "server": "uvicorn"}
    answer = client.get("/monai/info/", headers={"origin": "http://evil.example"})
    assert {"access-control-allow-origin", "access-control-allow-credentials", "set-cookie", "server"}.isdisjoint(
        answer.headers
    )
    preflight = client.options(
        "/monai/info/", headers={"origin": "http://evil.example", "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 404


def test_the_log_names_no_study_and_who_changed_what(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "workbench")
    client.get("/dicom-web/studies/1.2.3/series?PatientName=DOE")
    client.post("/monai/train/tumor_segmentation", json={})
    client.get("/dicom-web/studies/1.2.3", headers={"authorization": "Bearer wrong"})
    client.post("/monai/infer/x?image=1.2.3", data={"params": "{}"})
    assert caplog.messages == [
        "POST /monai/train by token: 200",
        "GET /dicom-web/studies by nobody: 401",
        "POST /monai/infer by token: 200",
    ]


def test_headers_of_every_answer(client: Client) -> None:
    for path in ("/", "/login", "/health", "/monai/info/", "/nothing.js", "/monai/model/x"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy, path
        assert headers["x-content-type-options"] == "nosniff", path
    assert "unsafe" not in client.get("/login").headers["content-security-policy"]
    assert client.get("/dicom-web/studies").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("announced", [True, False])
def test_a_large_body_is_refused(client: Client, servers: Servers, announced: bool) -> None:
    body = b"x" * (65 * 1024)
    content = body if announced else (body[i : i + 1024] for i in range(0, len(body), 1024))
    answer = client.post("/monai/train/tumor_segmentation", content=content)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert servers.reached == []


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
@pytest.mark.parametrize("announced", [True, False])
def test_forms_without_a_file_are_small(client: Client, servers: Servers, kind: str, announced: bool) -> None:
    """They are held in memory, as a whole and in parts."""
    body = b"params=" + b"x" * (1 << 20)
    content = body if announced else iter([body])
    answer = client.post("/monai/infer/x?image=1.2", content=content, headers={"content-type": kind})
    assert answer.status_code in (400, 413) and servers.reached == []


def test_there_are_places_for_some_uploads_at_once(servers: Servers, viewer_folder: Path) -> None:
    """Uploads lie on the disk or in memory while they are worked on; what is small does not wait for them."""

    async def ask_all() -> list[int]:
        go_on, reached = anyio.Event(), []

        async def slow(request: httpx2.Request) -> httpx2.Response:
            reached.append(await request.aread())
            await go_on.wait()
            return httpx2.Response(200, content=servers.stream())

        app = create_app(Settings(viewer_folder, viewer_folder), viewer_folder, TOKEN, httpx2.MockTransport(slow))
        headers = {"authorization": f"Bearer {TOKEN}"}
        found = []
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=URL, headers=headers) as client:

            async def upload(size: int) -> None:
                files = {"label": ("mask.nii.gz", bytes(size))}
                found.append((await client.post("/monai/infer/x?image=1.2", files=files)).status_code)

            async with anyio.create_task_group() as tasks:
                for count in range(1, 5):
                    tasks.start_soon(upload, 2 << 20)
                    while len(reached) < count:
                        await anyio.sleep(0.01)
                await upload(2 << 20)
                tasks.start_soon(upload, 10)
                while len(reached) < 5:
                    await anyio.sleep(0.01)
                go_on.set()
            await upload(2 << 20)
        return found

    with anyio.from_thread.start_blocking_portal() as portal:
        assert portal.call(ask_all) == [503] + [200] * 6


def test_a_login_that_ended_says_how_to_go_on(stranger: Client) -> None:
    """The same for storing by DICOMweb as for what the viewer asks of the models (workbench/ohif/server.js)."""
    said = "Your login has ended."
    remedy = "Log in again in another tab (/login), then repeat this: nothing is lost here."
    for answer in (stranger.post(STUDIES, content=b""), stranger.post("/monai/infer/x?image=1.2")):
        assert (answer.json()["found"], answer.json()["remedy"]) == (said, remedy)
    wrong = stranger.get(STUDIES, headers={"authorization": "Bearer wrong"})
    assert "Authorization: Bearer TOKEN" in wrong.json()["detail"]


def test_health_says_nothing_more(stranger: Client) -> None:
    assert stranger.get("/health").json() == {"status": "ok"}


def test_the_token_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "token"
    token, new = read_or_make_token(path)
    assert new and len(token) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_make_token(path) == (token, False)
    path.chmod(0o640)
    with pytest.raises(WorkbenchError, match="640"):
        read_or_make_token(path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(WorkbenchError, match="5 characters"):
        read_or_make_token(path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1_000_000.0]
    monkeypatch.setattr("workbench.identity.time.time", lambda: now[0])
    yield now


def test_sessions_end(clock: list[float]) -> None:
    sessions = Sessions()
    lasting, seconds = sessions.begin(Identity("A", personal=False))
    short, _ = sessions.begin(Identity("B", personal=True, expires=clock[0] + 60))
    assert seconds == 12 * 3600
    clock[0] += 61
    assert sessions.find(short) is None
    assert sessions.find(lasting) == Identity("A", personal=False)
    clock[0] += seconds
    assert sessions.find(lasting) is None
