"""The CPU image's entry point: the specification's verbs, and a command whose exit code comes through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.image import entrypoint


@pytest.fixture
def image(tmp_path: Path) -> dict[str, str]:
    """What an image holds, elsewhere: the variables that say where."""
    for name in ("app", "models", "docs", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "app" / "app.py").write_text("code")
    (tmp_path / "app" / "__pycache__").mkdir()
    (tmp_path / "models" / "net").mkdir()
    (tmp_path / "models" / "net" / "model.pt").write_bytes(b"weights")
    (tmp_path / "models" / "net" / "model.pt").chmod(0o444)
    (tmp_path / "docs" / "README.md").write_text("text")
    (tmp_path / "app.yaml").write_text("application:")
    (tmp_path / "pkg.json").write_text('{"applicationRoot": "/opt/holoscan/app/"}')
    write_manifest(tmp_path, "exec true")
    return {
        "HOLOSCAN_APPLICATION": f"{tmp_path}/app/",
        "HOLOSCAN_MODEL_PATH": f"{tmp_path}/models/",
        "HOLOSCAN_DOCS_PATH": f"{tmp_path}/docs/",
        "HOLOSCAN_CONFIG_PATH": f"{tmp_path}/app.yaml",
        "HOLOSCAN_APP_MANIFEST_PATH": f"{tmp_path}/app.json",
        "HOLOSCAN_PKG_MANIFEST_PATH": f"{tmp_path}/pkg.json",
    }


def write_manifest(folder: Path, command: str, **environment: str) -> None:
    manifest = {"command": command, "environment": environment, "workingDirectory": str(folder / "work")}
    (folder / "app.json").write_text(json.dumps(manifest))


def start(image: dict[str, str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The entry point as an engine starts it."""
    return subprocess.run(
        [sys.executable, entrypoint.__file__, *arguments],
        env={"PATH": os.environ["PATH"], **image, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_arguments_the_command_runs_and_its_exit_code_is_passed_on(
    image: dict[str, str], tmp_path: Path
) -> None:
    write_manifest(tmp_path, "exec sh -c 'exit 22'")
    assert start(image).returncode == 22


def test_a_signal_that_ends_the_command_is_seen(image: dict[str, str], tmp_path: Path) -> None:
    write_manifest(tmp_path, "exec sh -c 'kill -TERM $$'")
    assert start(image).returncode == -15  # one process: no shell stands between


def test_arguments_reach_the_command_as_they_are(image: dict[str, str], tmp_path: Path) -> None:
    write_manifest(tmp_path, "exec printf '<%s>'")
    done = start(image, "--series", "T1=1.2; touch x", "$(id)", "a  b", "")
    assert done.stdout == "<--series><T1=1.2; touch x><$(id)><a  b><>"
    assert list((tmp_path / "work").iterdir()) == []


def test_working_directory_and_environment(image: dict[str, str], tmp_path: Path) -> None:
    write_manifest(tmp_path, "exec sh -c 'pwd; echo $ONE $TWO'", ONE="manifest", TWO="manifest")
    done = start(image, TWO="host")
    assert done.stdout.splitlines() == [str(tmp_path / "work"), "manifest host"]


def test_libraries_write_to_a_temporary_folder_of_their_own(image: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    write_manifest(tmp_path, 'exec sh -c \'echo "$HOME|$MPLCONFIGDIR|$XDG_CACHE_HOME"; stat -c %a "$HOME"\'')
    done = start(image, HOME="/", TMPDIR=str(tmp_path / "tmp"))
    folders, mode = done.stdout.splitlines()
    home, *others = folders.split("|")
    assert Path(home).parent == tmp_path / "tmp"
    assert all(Path(other).parent == Path(home) for other in others)
    assert mode == "700"


def test_without_a_writable_folder_the_remedy_is_said(
    image: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(prefix: str) -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("deploy.image.entrypoint.tempfile.mkdtemp", fail)
    assert entrypoint.main([], image) == 1
    assert "--tmpfs /tmp" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_manifest_that_cannot_be_used(content: str | None, image: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "app.json").unlink()
    if content is not None:
        (tmp_path / "app.json").write_text(content)
    done = start(image)
    assert done.returncode == 1
    assert "The application manifest" in done.stderr and "Traceback" not in done.stderr


def test_show_prints_the_manifests_as_they_are(image: dict[str, str], tmp_path: Path) -> None:
    app, pkg = (tmp_path / "app.json").read_text(), (tmp_path / "pkg.json").read_text()
    assert start(image, "show", "app").stdout == f"{app}\n"
    assert start(image, "show", "pkg").stdout == f"{pkg}\n"
    assert start(image, "show").stdout == f"{app}\n{pkg}\n"
    refused = start(image, "show", "../etc/passwd")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is no manifest" in refused.stderr


def test_help_names_every_verb(image: dict[str, str]) -> None:
    done = start(image, "help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("show", "extract", "help", "/var/holoscan/input"))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


CONFIG = ["config/app.json", "config/app.yaml", "config/pkg.json"]


@pytest.mark.parametrize(
    ("mounted", "expected"),
    [
        ([], ["app/app.py", *CONFIG, "docs/README.md", "models/net/model.pt"]),
        (["config"], CONFIG),
        (["app", "models"], ["app/app.py", "models/net/model.pt"]),
        (["docs"], ["docs/README.md"]),
    ],
)
def test_extract_fills_what_is_mounted(
    mounted: list[str], expected: list[str], image: dict[str, str], tmp_path: Path
) -> None:
    export = tmp_path / "export"
    for name in mounted:
        (export / name).mkdir(parents=True)
    export.mkdir(exist_ok=True)
    assert entrypoint.main(["extract"], image, export) == 0
    assert files(export) == expected
    assert all(path.stat().st_uid == os.getuid() and os.access(path, os.W_OK) for path in export.rglob("*"))


def test_extract_without_a_mount_says_where(
    image: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entrypoint.main(["extract"], image, tmp_path / "absent") == 2
    assert "Nothing is mounted at" in capsys.readouterr().err
    assert str(entrypoint.EXPORT) == "/var/run/holoscan/export"
