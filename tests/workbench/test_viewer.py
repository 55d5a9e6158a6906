"""The viewer's files are served, with ours over them, and nothing beside them."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from tests.workbench.conftest import Client
from workbench.viewer import OURS


def test_our_configuration_takes_the_place_of_ohifs(client: Client) -> None:
    answer = client.get("/app-config.js")
    assert answer.text == (OURS / "app-config.js").read_text()
    assert answer.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("path", ["/", "/viewer", "/segmentation?StudyInstanceUIDs=1.2.3", "/index.html"])
def test_addresses_of_the_viewer_get_its_page(client: Client, path: str) -> None:
    assert "<title>OHIF</title>" in client.get(path).text


def test_files_whose_name_holds_their_hash_are_kept_by_browsers(client: Client) -> None:
    assert "immutable" in client.get("/app.bundle.0f6159c501addfe9.js").headers["cache-control"]
    assert client.get("/acuity/extension.js").headers["cache-control"] == "no-store"


OUTSIDE = ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/x/..%2f..%2fsecret.txt"]
OUTSIDE += ["/" + "a" * 300, "/" + "c/" * 3000, "/" + "\u00e4" * 200]
OUTSIDE += ["/acuity/..%2f..%2fgateway.py", "/acuity/x.js", "/nothing.js", "/%00.js"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_is_served(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and "outside" not in answer.text


def test_the_policy_lets_ohifs_inline_scripts_run_and_no_others(client: Client) -> None:
    digest = base64.b64encode(hashlib.sha256(b"inline()").digest()).decode()
    policy = client.get("/").headers["content-security-policy"]
    (scripts,) = (part for part in policy.split("; ") if part.startswith("script-src"))
    assert scripts == f"script-src 'self' 'unsafe-eval' 'sha256-{digest}'"


def test_the_viewers_modules_import_what_the_gateway_serves(client: Client) -> None:
    for file in OURS.glob("*.js"):
        for module in re.findall(r'"(?:/acuity|[.])/([^"/]+[.]js)"', file.read_text()):
            assert client.get(f"/acuity/{module}").status_code == 200, (file, module)
