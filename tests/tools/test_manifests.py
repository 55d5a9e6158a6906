"""Manifests and Dockerfiles against the MAP specification, and each fault found."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import acuity
from acuity.errors import DataError
from tools.package_manifests import LIMIT, check, instructions, sources, variables

Manifest = dict[str, Any]


@pytest.fixture(params=["cpu", "sdk"])
def context(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture
def spoilt(cpu: Path, tmp_path: Path) -> Path:
    """A copy of the CPU context, without the weights, to be spoilt."""
    return Path(shutil.copytree(cpu, tmp_path / "spoilt", ignore=shutil.ignore_patterns("*.pt")))


def read(context: Path, name: str) -> Manifest:
    content: Manifest = json.loads((context / "map" / f"{name}.json").read_text())
    return content


@pytest.mark.parametrize("name", ["app", "pkg"])
def test_schemas_are_schemas(name: str, repository: Path) -> None:
    schema = json.loads((repository / "packaging" / "schemas" / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)


def test_both_contexts_are_what_they_must_be(context: Path) -> None:
    check(context)
    assert read(context, "app")["version"] == read(context, "pkg")["version"] == acuity.__version__


def test_the_command_replaces_its_shell(cpu: Path, sdk: Path) -> None:
    assert read(cpu, "app")["command"] == "exec python3 /opt/holoscan/app/app.py"
    assert json.loads(read(sdk, "app")["command"])[:2] == ["exec", "python3"]
    assert (cpu / "app" / "app.py").is_file()


def test_a_cpu_image_asks_for_no_gpu(cpu: Path, sdk: Path) -> None:
    resources, described = read(cpu, "pkg")["resources"], read(sdk, "pkg")["resources"]
    assert resources["gpu"] == 0
    assert not [key for key in resources if key.startswith("gpu") and key != "gpu"]
    assert {key: resources[key] for key in ("cpu", "memory")} == {key: described[key] for key in ("cpu", "memory")}


def test_models_are_where_the_manifest_says(cpu: Path) -> None:
    manifest = read(cpu, "pkg")
    assert manifest["modelRoot"] == read(cpu, "app")["environment"]["HOLOSCAN_MODEL_PATH"]
    for model in manifest["models"]:
        assert (cpu / "models" / model["path"] / "models" / "model.pt").is_file()


FAULTS: list[tuple[str, Callable[[Manifest], object], str]] = [
    ("app", lambda m: m.pop("command"), "'command' is a required property"),
    ("app", lambda m: m.update(version="1.0"), r"\$.version"),
    ("app", lambda m: m.update(workingDirectory="var"), r"\$.workingDirectory"),
    ("app", lambda m: m["environment"].pop("HOLOSCAN_INPUT_PATH"), "HOLOSCAN_INPUT_PATH"),
    ("app", lambda m: m["environment"].update({"A-B": "1"}), "A-B"),
    ("app", lambda m: m["input"].update(formats=None), r"\$.input.formats"),
    ("app", lambda m: m.update(readiness={"type": "http-get", "port": 80}), "readiness"),
    ("app", lambda m: m.update(timeout=-1), r"\$.timeout"),
    ("pkg", lambda m: m.pop("applicationRoot"), "applicationRoot"),
    ("pkg", lambda m: m.update(modelRoot="models"), r"\$.modelRoot"),
    ("pkg", lambda m: m["models"].append({"path": "x"}), r"\$.models"),
    ("pkg", lambda m: m["models"].append({"name": "two words"}), r"\$.models"),
    ("pkg", lambda m: m["resources"].update(memory="8GB"), r"\$.resources"),
    ("pkg", lambda m: m["resources"].update(disk="1Gi"), r"\$.resources"),
]


@pytest.mark.parametrize(("name", "fault", "message"), FAULTS)
def test_a_manifest_with_a_fault_is_refused(
    name: str, fault: Callable[[Manifest], object], message: str, spoilt: Path
) -> None:
    manifest = read(spoilt, name)
    fault(manifest)
    (spoilt / "map" / f"{name}.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=rf"map/{name}.json is not valid at .*{message}"):
        check(spoilt)


def test_a_probe_and_fragments_of_the_specification_pass(spoilt: Path) -> None:
    for name, more in (
        ("app", {"liveness": {"type": "grpc", "port": 8765}}),
        ("pkg", {"resources": {"cpu": 1, "fragments": {"one": {"memory": "1.5Gi"}}}}),
    ):
        (spoilt / "map" / f"{name}.json").write_text(json.dumps({**read(spoilt, name), **more}))
    check(spoilt)


def test_what_the_image_does_not_copy_is_refused(spoilt: Path) -> None:
    (spoilt / "notes").mkdir()
    with pytest.raises(DataError, match="'notes'.*MAP specification"):
        check(spoilt)


def test_what_the_context_lacks_is_refused(spoilt: Path) -> None:
    shutil.rmtree(spoilt / "docs")
    with pytest.raises(DataError, match="copies.*'docs'"):
        check(spoilt)


def test_a_large_context_is_refused(spoilt: Path) -> None:
    with (spoilt / "models" / "large").open("wb") as file:
        file.truncate(LIMIT)
    with pytest.raises(DataError, match=r"6\d\.\d MB, more than 60"):
        check(spoilt)


def test_dockerfile_and_manifest_set_the_same_variables(cpu: Path) -> None:
    dockerfile = (cpu / "Dockerfile").read_text()
    set_by_image = {key: value for key, value in variables(dockerfile).items() if key.startswith("HOLOSCAN_")}
    assert set_by_image == read(cpu, "app")["environment"]
    assert set_by_image["HOLOSCAN_INPUT_PATH"] == "/var/holoscan/input/"


def test_dockerfile_is_sound(cpu: Path) -> None:
    lines = instructions((cpu / "Dockerfile").read_text())
    by_name = dict(lines)
    assert set(by_name) == {"ARG", "FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "ENTRYPOINT", "LABEL"}
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", by_name["USER"])  # a number: Kubernetes cannot tell root from a name
    (executable,) = json.loads(by_name["ENTRYPOINT"])  # no shell between the engine and it
    assert f"COPY entrypoint.py {executable}" in [" ".join(line) for line in lines]
    assert (cpu / "entrypoint.py").stat().st_mode & 0o111
    base = dict(rest.split("=", 1) for name, rest in lines if name == "ARG")["BASE_IMAGE"]
    assert re.search(r":3\.11\.\d+-slim-\w+$", base)
    assert {rest.split()[0] for name, rest in lines if name == "FROM"} == {"${BASE_IMAGE}"}
    install = next(rest for name, rest in lines if name == "RUN" and "pip install" in rest)
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:", "pip check"):
        assert option in install


def test_manifests_are_where_both_versions_of_the_specification_have_them(context: Path) -> None:
    copies = [rest for name, rest in instructions((context / "Dockerfile").read_text()) if name == "COPY"]
    assert [rest for rest in copies if rest.endswith("/etc/monai")]
    assert [rest for rest in copies if "/etc/holoscan" in rest]


def test_labels_of_oci(context: Path) -> None:
    found = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', (context / "Dockerfile").read_text()))
    assert found["version"] == acuity.__version__
    assert found["revision"] == "0123456789abcdef0123456789abcdef01234567"
    assert found["created"] == "2023-11-14T22:13:20Z"
    assert found["licenses"] == "Apache-2.0" and found["title"].startswith("Acuity")


def test_instructions_join_lines_and_skip_comments() -> None:
    dockerfile = "# COPY x /x\nFROM a AS b\ncopy --from=b /v /v\nRUN one \\\n  && two\n"
    dockerfile += "COPY ./c/d e /f/\nENV A=1 \\\n    B=2\n"
    assert ("RUN", "one && two") in instructions(dockerfile)
    assert sources(dockerfile) == {"c", "e"}
    assert variables(dockerfile) == {"A": "1", "B": "2"}
