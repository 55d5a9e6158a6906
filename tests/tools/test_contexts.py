"""Both build contexts: what is in them, what is not, and that a commit has one."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from acuity.errors import DataError
from acuity.models.bundle import load_bundle
from tools.package_content import BUNDLES, LEFT_OUT, Revision, normalize, read_revision, sizes
from tools.package_contexts import pins, with_arguments, write_cpu_context, write_sdk_context

FLAVOURS = ("cpu", "sdk")


@pytest.fixture(params=FLAVOURS)
def context(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def entries(folder: Path) -> list[tuple[str, int, int, bytes]]:
    """(path, mode, time, content) of everything below."""
    found = []
    for path in sorted(folder.rglob("*")):
        content = b"" if path.is_dir() else path.read_bytes()
        found.append((str(path.relative_to(folder)), path.stat().st_mode, path.stat().st_mtime_ns, content))
    return found


def modules(app: Path) -> dict[str, Path]:
    """Dotted name -> file of the application's modules."""
    found = {file.relative_to(app).with_suffix("").as_posix().replace("/", "."): file for file in app.rglob("*.py")}
    return {name.removesuffix(".__init__"): file for name, file in found.items()}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_commit_has_one_context(
    flavour: str, repository: Path, tmp_path: Path, revision: Revision, request: pytest.FixtureRequest
) -> None:
    before = os.umask(0o077)  # what would tell on modes
    try:
        if flavour == "cpu":
            write_cpu_context(repository, tmp_path, revision)
        else:
            write_sdk_context(repository, tmp_path, revision, "acuity:0.1.0-sdk")
    finally:
        os.umask(before)
    assert entries(tmp_path) == entries(request.getfixturevalue(flavour))


def test_times_and_modes_are_the_commit_s(context: Path, revision: Revision) -> None:
    for path in [context, *context.rglob("*")]:
        assert path.stat().st_mtime == revision.time
        assert path.stat().st_mode & 0o7777 in (0o644, 0o755)
        assert not path.is_symlink()


def test_only_what_the_application_needs(context: Path, repository: Path) -> None:
    names = {path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()}
    assert {name.partition("/")[0] for name in names} <= {
        "app",
        "models",
        "docs",
        "map",
        "Dockerfile",
        "app.yaml",
        "entrypoint.py",
        "requirements.txt",
        ".dockerignore",
        "app.config",
        "pip",
        "tools",
    }
    assert sorted(os.listdir(context / "models")) == sorted(BUNDLES)
    for name in names:
        assert not re.search(r"\.git/|\.pyc$|\.nii|\.dcm$|test|conftest|/train\.json|sr_x4", name), name
    tracked = subprocess.run(
        ["git", "-C", repository, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {name.removeprefix("app/") for name in names if name.startswith("app/")} - {"requirements.txt"} <= {*tracked}


def test_nothing_in_it_imports_what_was_left_out(context: Path, repository: Path) -> None:
    for place in LEFT_OUT:
        assert (repository / place).exists()
        assert not (context / "app" / place).exists()
    inside = modules(context / "app")
    whole = modules(repository / "acuity")
    for name, file in inside.items():
        for imported in imports(file):
            if imported.startswith("acuity.") and imported.removeprefix("acuity.") in whole:
                assert imported in inside, f"{name} imports {imported}"


def test_every_import_that_the_application_reaches_is_installed(cpu: Path) -> None:
    inside = modules(cpu / "app")
    configs = "".join(file.read_text() for file in cpu.glob("models/*/configs/inference.json"))
    reached, todo = set(), ["app", *(target.rpartition(".")[0] for target in re.findall(r"acuity(?:\.\w+)+", configs))]
    outside = set()
    while todo:
        name = todo.pop()
        if name in inside and name not in reached:
            reached.add(name)
            for imported in imports(inside[name]):
                parts = imported.split(".")
                todo += [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
                outside.add(parts[0])
    assert {"acuity.networks.srrescycgan", "acuity.pipeline.run", "operators.loader"} <= reached
    pinned = {normalized(line.split("==")[0]) for line in pins((cpu / "requirements.txt").read_text()).splitlines()}
    providers = packages_distributions()
    for package in sorted(outside - {"acuity", "operators", "app"} - set(sys.stdlib_module_names)):
        assert {normalized(provider) for provider in providers[package]} & pinned, f"{package} is not installed"


def test_bundles_load_from_it(context: Path, repository: Path) -> None:
    for name in BUNDLES:
        packaged, released = load_bundle(context / "models", name), load_bundle(repository / "bundles", name)
        assert (packaged.version, packaged.weights_sha256) == (released.version, released.weights_sha256)
        assert (context / "models" / name / "LICENSE").is_file()


def test_sizes_by_part_add_up_and_stay_below_60_mb(context: Path) -> None:
    parts = sizes(context)
    total = sum(path.stat().st_size for path in context.rglob("*") if path.is_file())
    assert sum(parts.values()) == total < 60_000_000
    assert parts["models/brain_tumor_segmentation"] > 10_000_000


def test_revision_names_the_commit_and_marks_what_is_not_in_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    git("init", "-q")
    (tmp_path / "app.py").write_text("1")
    (tmp_path / "notes.txt").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    commit, time = git("log", "-1", "--format=%H %ct").split()
    assert read_revision(tmp_path) == Revision(commit, int(time), dirty=False)
    (tmp_path / "notes.txt").write_text("2")  # goes into no image
    assert not read_revision(tmp_path).dirty
    (tmp_path / "app.py").write_text("2")
    assert read_revision(tmp_path).label == f"{commit}-dirty"


def test_a_folder_without_a_commit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="commit cannot be read.*in a clone"):
        read_revision(tmp_path)


def test_scripts_stay_executable(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "text").write_text("#")
    (tmp_path / "text").chmod(0o777)
    normalize(tmp_path, 5)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("tool", "text")] == [0o755, 0o644]
    assert tmp_path.stat().st_mtime == 5


def test_pins_are_the_versions_of_the_lock() -> None:
    lock = (
        "# made by a tool\ntorch==2.13.0+cpu \\\n    --hash=sha256:aa\nzope.event==6.2 \\\n    --hash=sha256:bb\n"
        "nvidia-cuda-runtime==13.0.1 ; sys_platform == 'linux' \\\n    --hash=sha256:cc\n"
    )
    assert pins(lock) == "torch==2.13.0\nzope.event==6.2\n"


def test_the_sdk_image_installs_the_same_versions(cpu: Path, sdk: Path) -> None:
    installed = (sdk / "pip" / "requirements.txt").read_text().splitlines()
    assert installed == pins((cpu / "requirements.txt").read_text()).splitlines()
    assert "torch==2.13.0" in installed


@pytest.mark.skipif(shutil.which("jq") is None, reason="the packager's entry point calls jq, which is not installed")
@pytest.mark.parametrize(("words", "code"), [(["exec"], 7), ([], 0)], ids=["with exec", "as generated"])
def test_the_sdk_s_entry_point_passes_the_exit_code_on_only_with_exec(
    words: list[str], code: int, sdk: Path, tmp_path: Path
) -> None:
    command = json.loads(json.loads((sdk / "map" / "app.json").read_text())["command"])
    assert command == ["exec", "python3", "/opt/holoscan/app/app.py"]
    (tmp_path / "exit7").write_text("exit 7\n")
    (tmp_path / "app.json").write_text(json.dumps({"command": json.dumps([*words, "sh", str(tmp_path / "exit7")])}))
    environment = {**os.environ, "HOLOSCAN_APP_MANIFEST_PATH": str(tmp_path / "app.json")}
    assert subprocess.run(["bash", sdk / "tools"], env=environment, capture_output=True, check=False).returncode == code


def test_another_dockerfile_of_the_packager_is_noticed(sdk: Path) -> None:
    dockerfile = (sdk / "Dockerfile").read_text()
    assert re.search("^ARG UID=1000$", dockerfile, re.MULTILINE)
    with pytest.raises(DataError, match="0 lines `ARG UNAME`"):
        with_arguments(dockerfile)
