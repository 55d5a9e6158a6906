"""The package: what is in the two build contexts, that a commit has one of each, and the command that makes them."""

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
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import acuity
from acuity.errors import DataError
from acuity.models.bundle import load_bundle
from tools.package import LEFT_OUT, main, pins, with_arguments, write_cpu_context, write_sdk_context
from tools.package_manifests import BUNDLES, Revision, read_revision
from tools.supply_chain.lock import IMAGE, LOCK, read_versions

SCHEMAS = Path(__file__).parent / "map_schemas"  # of the manifests, from the MAP specification 1.0.0


def entries(folder: Path) -> list[tuple[str, int, int, bytes]]:
    """(path, mode, time, content) of everything below."""
    return [
        (str(p.relative_to(folder)), p.stat().st_mode, p.stat().st_mtime_ns, b"" if p.is_dir() else p.read_bytes())
        for p in sorted(folder.rglob("*"))
    ]


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


def manifest(context: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((context / "map" / f"{name}.json").read_text())
    return content


# The content


def test_a_commit_has_one_context(cpu: Path, sdk: Path, revision: Revision, tmp_path: Path) -> None:
    before = os.umask(0o077)  # what would tell on modes
    try:
        write_cpu_context(tmp_path / "cpu", revision)
        (tmp_path / "sdk").mkdir()
        write_sdk_context(tmp_path / "sdk", revision, "acuity:0.1.0-sdk")
    finally:
        os.umask(before)
    assert entries(tmp_path / "cpu") == entries(cpu)
    assert entries(tmp_path / "sdk") == entries(sdk)
    for path in [*cpu.rglob("*"), *sdk.rglob("*")]:
        assert path.stat().st_mtime == revision.time
        assert path.stat().st_mode & 0o7777 in (0o644, 0o755)
        assert not path.is_symlink()


def test_only_what_the_application_needs(context: Path) -> None:
    names = [path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()]
    assert sorted(os.listdir(context / "models")) == sorted(BUNDLES)
    for name in names:
        assert not re.search(r"\.git/|\.pyc$|\.nii|\.dcm$|test|conftest|/train\.json|sr_x4", name), name
    assert 10e6 < sum((context / name).stat().st_size for name in names) < 60e6


def test_the_image_copies_the_whole_context(context: Path) -> None:
    copies = re.findall(r"^COPY (?!--from)(.+)$", (context / "Dockerfile").read_text(), re.MULTILINE)
    words = [word for copy in copies for word in copy.split()[:-1] if not word.startswith("--")]
    copied = {Path(word).parts[0] for word in words}
    assert copied == {entry.name for entry in context.iterdir()} - {"Dockerfile", ".dockerignore"}
    targets = [copy.split()[-1].rstrip("/") for copy in copies if "map" in copy]
    # where both versions of the specification have the manifests
    assert "/etc/monai" in targets and any(target.startswith("/etc/holoscan") for target in targets)


def test_nothing_in_it_imports_what_was_left_out(context: Path, repository: Path) -> None:
    for place in LEFT_OUT:
        assert (repository / place).exists()
        assert not (context / "app" / place).exists()
    inside, whole = modules(context / "app"), modules(repository)
    for name, file in inside.items():
        for imported in imports(file):
            if imported.partition(".")[0] == "acuity" and imported in whole:
                assert imported in inside, f"{name} imports {imported}"


def test_every_import_is_served_by_a_line_of_the_requirements(cpu: Path) -> None:
    lines = (line.partition("#")[0].strip() for line in (IMAGE / "requirements.in").read_text().splitlines())
    asked = {canonicalize_name(Requirement(line).name) for line in lines if line}
    assert asked <= read_versions(LOCK.read_text()).keys()
    outside = {name.partition(".")[0] for file in modules(cpu / "app").values() for name in imports(file)}
    outside -= {"acuity", "operators", *sys.stdlib_module_names}
    assert {"torch", "highdicom", "deepbet"} <= outside
    providers = packages_distributions()
    for package in sorted(outside):
        assert {canonicalize_name(provider) for provider in providers[package]} & asked, f"{package} is not installed"


def test_bundles_load_from_it(context: Path, repository: Path) -> None:
    for name in BUNDLES:
        packaged, released = load_bundle(context / "models", name), load_bundle(repository / "bundles", name)
        assert (packaged.version, packaged.weights_sha256) == (released.version, released.weights_sha256)
        assert (context / "models" / name / "LICENSE").is_file()


def test_both_images_install_the_locked_versions(cpu: Path, sdk: Path) -> None:
    assert (cpu / "requirements.lock").read_text() == LOCK.read_text()
    versions = read_versions(LOCK.read_text())
    assert (sdk / "pip" / "requirements.txt").read_text() == pins(versions)
    assert pins({"torch": "2.13.0+cpu", "nvidia-cuda-runtime": "13.0.1", "a": "1"}) == "torch==2.13.0\na==1\n"


# Manifests and Dockerfiles


@pytest.mark.parametrize("name", ["app", "pkg"])
def test_manifests_are_valid(context: Path, name: str) -> None:
    jsonschema.validate(manifest(context, name), json.loads((SCHEMAS / f"{name}.schema.json").read_text()))
    assert manifest(context, name)["version"] == acuity.__version__


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("app", {"version": "1.0"}),
        ("app", {"environment": {}}),
        ("app", {"input": {"formats": None}}),
        ("app", {"readiness": {"type": "http-get", "port": 80}}),
        ("pkg", {"modelRoot": "models"}),
        ("pkg", {"models": [{"name": "two words"}]}),
        ("pkg", {"resources": {"memory": "8GB"}}),
        ("pkg", {"resources": {"disk": "1Gi"}}),
    ],
)
def test_the_schemas_refuse_a_faulty_manifest(cpu: Path, name: str, fault: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**manifest(cpu, name), **fault}, json.loads((SCHEMAS / f"{name}.schema.json").read_text()))


def test_the_manifests_agree_with_image_and_description(cpu: Path, sdk: Path, repository: Path) -> None:
    app, pkg = manifest(cpu, "app"), manifest(cpu, "pkg")
    assert app["command"] == "exec python3 /opt/holoscan/app/app.py" and (cpu / "app" / "app.py").is_file()
    assert app["environment"]["HOLOSCAN_INPUT_PATH"] == "/var/holoscan/input/"
    assert pkg["modelRoot"] == app["environment"]["HOLOSCAN_MODEL_PATH"]
    assert all((cpu / "models" / model["path"] / "models" / "model.pt").is_file() for model in pkg["models"])
    needs = yaml.safe_load((repository / "app.yaml").read_text())["resources"]
    assert pkg["resources"] == {**needs, "gpu": 0}
    assert manifest(sdk, "pkg")["resources"].items() >= needs.items()


def test_the_cpu_image_is_unprivileged_and_installs_hashed_wheels_only(cpu: Path) -> None:
    dockerfile = (cpu / "Dockerfile").read_text()
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", dockerfile, re.MULTILINE)  # Kubernetes cannot tell root from a name
    (executable,) = json.loads(re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)[0])  # no shell before it
    assert f"COPY entrypoint.py {executable}\n" in dockerfile and os.access(cpu / "entrypoint.py", os.X_OK)
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["${BASE_IMAGE}"] * 2
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:", "pip check"):
        assert option in dockerfile


def test_labels_name_version_and_commit(context: Path, revision: Revision) -> None:
    found = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', (context / "Dockerfile").read_text()))
    assert (found["version"], found["revision"]) == (acuity.__version__, revision.commit)
    assert found["created"] == revision.created
    assert Revision("", 1_700_000_000).created == "2023-11-14T22:13:20Z"


@pytest.mark.skipif(shutil.which("jq") is None, reason="the packager's entry point calls jq, which is not installed")
@pytest.mark.parametrize(("words", "code"), [(["exec"], 7), ([], 0)], ids=["with exec", "as generated"])
def test_the_sdk_s_entry_point_passes_the_exit_code_on_only_with_exec(
    words: list[str], code: int, sdk: Path, tmp_path: Path
) -> None:
    assert json.loads(manifest(sdk, "app")["command"]) == ["exec", "python3", "/opt/holoscan/app/app.py"]
    (tmp_path / "exit7").write_text("exit 7\n")
    (tmp_path / "app.json").write_text(json.dumps({"command": json.dumps([*words, "sh", str(tmp_path / "exit7")])}))
    environment = {**os.environ, "HOLOSCAN_APP_MANIFEST_PATH": str(tmp_path / "app.json")}
    assert subprocess.run(["bash", sdk / "tools"], env=environment, capture_output=True, check=False).returncode == code


def test_another_dockerfile_of_the_packager_is_noticed(sdk: Path) -> None:
    dockerfile = (sdk / "Dockerfile").read_text()
    assert re.search("^ARG UID=1000$", dockerfile, re.MULTILINE)
    with pytest.raises(DataError, match="0 lines `ARG UNAME`"):
        with_arguments(dockerfile)


# The command


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for docker, which writes down what it is asked and fails for the verb that the file ``fail`` names."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "fail").write_text("nothing")
    (folder / "docker").write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n[ "$1" != "$(cat {folder}/fail)" ]\n')
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def test_without_an_engine_the_contexts_are_left_and_named(
    tmp_path: Path, docker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (docker / "fail").write_text("info")
    assert main(["--output", str(tmp_path / "out"), "--tag", "example.org/acuity:1"]) == 0
    said = capsys.readouterr().out
    for flavor in ("cpu", "sdk"):
        assert f"docker build --tag example.org/acuity:1-{flavor} {tmp_path}/out/{flavor}\n" in said
        assert (tmp_path / "out" / flavor / "Dockerfile").is_file()


@pytest.mark.parametrize(("fail", "code"), [("nothing", 0), ("build", 1)])
def test_with_an_engine_the_image_is_built(fail: str, code: int, tmp_path: Path, docker: Path) -> None:
    (docker / "fail").write_text(fail)
    assert main(["--flavor", "cpu", "--output", str(tmp_path / "out"), "--tag", "acuity:1"]) == code
    call = f"build --tag acuity:1-cpu {tmp_path}/out/cpu --platform linux/amd64"
    assert (docker / "calls").read_text().splitlines() == ["info", call]


def test_an_earlier_context_is_replaced_and_nothing_else(
    tmp_path: Path, docker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (docker / "fail").write_text("info")
    arguments = ["--flavor", "cpu", "--output", str(tmp_path)]
    assert main(arguments) == 0
    (tmp_path / "cpu" / "app" / "old.py").touch()
    assert main(arguments) == 0
    assert not (tmp_path / "cpu" / "app" / "old.py").exists()
    (tmp_path / "cpu" / "map" / "app.json").unlink()
    assert main(arguments) == 60
    assert "holds other files" in capsys.readouterr().err
    assert (tmp_path / "cpu" / "app" / "app.py").exists()


def test_a_folder_without_a_commit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="commit cannot be read.*in a clone"):
        read_revision(tmp_path)
