"""Ports, folders and people: from flags and a file, refused where they are not valid or not safe."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from acuity.errors import WorkbenchError
from workbench.launcher import label_command
from workbench.settings import load_settings, read_settings, save_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))


def test_defaults_are_on_loopback_and_follow_xdg(tmp_path: Path) -> None:
    settings = read_settings(None, {"port": None})
    assert settings.url == "http://127.0.0.1:8470"
    assert settings.state == tmp_path / "data" / "acuity" / "workbench"
    assert settings.cache == tmp_path / ".cache" / "acuity"  # the specification disregards relative paths


def test_the_address_of_the_models_begins_with_a_secret_that_stays() -> None:
    settings = read_settings(None, {})
    root, _, secret = settings.label_address.rpartition("/")
    assert root == "http://127.0.0.1:8472" and len(secret) >= 32
    assert settings.label_address == read_settings(None, {}).label_address
    assert settings.label_secret.stat().st_mode & 0o777 == 0o600


def test_the_archives_password_stands_in_files_of_the_owner_and_on_no_command_line() -> None:
    settings = read_settings(None, {})
    password = settings.archive_password.read_text().strip() if settings.dicomweb else ""
    assert len(password) >= 32 and f"acuity:{password}@127.0.0.1:8471/dicom-web" in settings.dicomweb
    assert settings.archive_password.stat().st_mode & 0o777 == 0o600
    words = label_command(settings)
    assert str(settings.archive_password) in words and password not in " ".join(words)
    assert password not in repr(settings)


def test_flags_stand_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "workbench.yaml"
    file.write_text(
        "port: 9000\northanc_port: 9001\nstate: ~/bench\ndemo: false\n"
        "oidc: {issuer: 'https://id.example', client_id: acuity}\n"
    )
    settings = read_settings(file, {"port": 9009, "label_port": None})
    assert (settings.port, settings.orthanc_port, settings.label_port) == (9009, 9001, 8472)
    assert settings.state == tmp_path / "bench" and not settings.demo
    assert settings.oidc is not None and settings.oidc.issuer == "https://id.example"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prot": 1}, "`prot` is not a setting"),
        ({"port": "80"}, "`port`.*valid integer"),
        ({"port": True}, "`port`.*valid integer"),
        ({"port": 80}, "`port`.*greater than or equal to 1024"),
        ({"port": 8471}, "must differ"),
        ({"demo": "no"}, "`demo`.*valid boolean"),
        ({"certificate": "c.pem"}, "certificate.*does not exist"),
        ({"bundles": "/nowhere/at/all"}, "does not exist"),
        ({"host": "0.0.0.0"}, "without encryption"),
        ({"public_url": "http://acuity.example"}, "without encryption"),
        ({"public_url": "https://acuity.example/viewer"}, "nothing after it"),
        ({"public_url": "ftp://acuity.example"}, "https:// and a host"),
        ({"oidc": {"issuer": "https://id.example"}}, "`oidc.client_id`.*required"),
        ({"oidc": {"issuer": "http://id.example", "client_id": "a"}}, "begin with https://"),
        ({"oidc": {"issuer": "https://id.example", "client_id": "a", "claim": "groups"}}, "go together"),
        ({"oidc": {"issuer": "https://id.example", "client_id": 7}}, "`oidc.client_id`.*valid string"),
    ],
)
def test_what_is_not_valid_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        read_settings(None, values)


@pytest.mark.parametrize("content", ["- a\n", "port: [\n", "1: 2\n", "\xff"])
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "workbench.yaml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(WorkbenchError, match="configuration"):
        read_settings(file, {})


def test_behind_a_server_that_speaks_https_the_gateway_stays_on_loopback() -> None:
    assert read_settings(None, {"public_url": "https://acuity.example"}).url == "https://acuity.example"


def test_the_gateways_process_gets_the_same_settings_and_nobody_else(tmp_path: Path) -> None:
    key, bundles = tmp_path / "key.pem", tmp_path
    key.touch()
    oidc = {"issuer": "https://id.example", "client_id": "acuity", "client_secret": "secret"}
    flags = {"oidc": oidc, "certificate": key, "key": key, "bundles": bundles, "demo": False, "host": "0.0.0.0"}
    settings = read_settings(None, {**flags, "public_url": "https://acuity.example"})
    file = tmp_path / "gateway.json"
    file.touch(mode=0o644)
    save_settings(settings, file)
    assert load_settings(file) == settings
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_refusal_does_not_tell_the_secret() -> None:
    oidc = {"issuer": "https://id.example", "client_id": "a", "client_secret": "hush", "claim": "groups"}
    with pytest.raises(WorkbenchError) as refusal:
        read_settings(None, {"oidc": oidc})
    assert "go together" in str(refusal.value) and "hush" not in str(refusal.value)
