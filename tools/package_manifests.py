"""Manifests, labels and Dockerfiles of a build context, and the check that they are what the specification asks for."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from acuity.errors import DataError
from tools.package_content import BUNDLES, Revision, sizes

PACKAGING = Path(__file__).resolve().parent.parent / "packaging"
SPECIFICATION = "1.0.0"
COMMAND = "exec python3 /opt/holoscan/app/app.py"  # exec: its exit code is the container's
SOURCE_LICENSE = "Apache-2.0"
LIMIT = 60 * 10**6  # bytes of a context
Manifest = dict[str, Any]


def app_manifest(description: Manifest, dockerfile: str) -> Manifest:
    """``app.json`` of the CPU image.

    Parameters
    ----------
    description : app.yaml
    dockerfile : whose HOLOSCAN_ variables the manifest repeats
    """
    application = description["application"]
    return {
        "apiVersion": SPECIFICATION,
        "type": "application",
        "command": COMMAND,
        "environment": {key: value for key, value in variables(dockerfile).items() if key.startswith("HOLOSCAN_")},
        "input": {"path": "input/", "formats": application["input-formats"]},
        "output": {"path": "output/", "formats": application["output-formats"]},
        "sdk": "monai-deploy",
        "sdkVersion": version("monai-deploy-app-sdk"),
        "timeout": 0,
        "version": application["version"],
        "workingDirectory": "/var/holoscan/",
    }


def pkg_manifest(description: Manifest) -> Manifest:
    """``pkg.json`` of the CPU image: the resources of app.yaml without its GPU."""
    resources = {key: value for key, value in description["resources"].items() if not key.startswith("gpu")}
    return {
        "apiVersion": SPECIFICATION,
        "applicationRoot": "/opt/holoscan/app/",
        "modelRoot": "/opt/holoscan/models/",
        "models": [{"name": bundle, "path": bundle} for bundle in BUNDLES],
        "resources": {**resources, "gpu": 0},
        "version": description["application"]["version"],
        "platformConfig": "cpu",
    }


def labels(description: Manifest, revision: Revision) -> str:
    """Lines of a Dockerfile with the annotations of OCI that the specification asks for, and what else is known."""
    application = description["application"]
    pairs = {
        "title": application["title"],
        "version": application["version"],
        "revision": revision.label,
        "created": revision.created,
        "licenses": SOURCE_LICENSE,
    }
    return "".join(f"LABEL org.opencontainers.image.{key}={json.dumps(value)}\n" for key, value in pairs.items())


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """(instruction, arguments) in order, continuation lines joined, comments left out."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = (line.split(None, 1) for line in joined.splitlines())
    return [(name.upper(), " ".join(rest.split())) for name, rest in pairs]


def variables(dockerfile: str) -> dict[str, str]:
    """What ENV sets, values without blanks."""
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(rest for name, rest in instructions(dockerfile) if name == "ENV")))


def sources(dockerfile: str) -> set[str]:
    """Entries of the context that COPY names."""
    copies = [rest.split() for name, rest in instructions(dockerfile) if name == "COPY"]
    return {Path(source).parts[0] for words in copies if not words[0].startswith("--") for source in words[:-1]}


def read_description(repository: Path) -> Manifest:
    """app.yaml."""
    description: Manifest = yaml.safe_load((repository / "app.yaml").read_text(encoding="utf-8"))
    return description


def write_json(content: Manifest, path: Path) -> None:
    """Write a manifest for programs and people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def check(context: Path) -> None:
    """Check a context against the specification's schemas and itself.

    Raises
    ------
    DataError
        When a manifest is not valid, the Dockerfile copies what is not there or leaves something out, or the context
        is larger than LIMIT.
    """
    for name in ("app", "pkg"):
        schema = json.loads((PACKAGING / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
        try:
            jsonschema.validate(json.loads((context / "map" / f"{name}.json").read_text(encoding="utf-8")), schema)
        except jsonschema.ValidationError as error:
            raise _not_valid(f"map/{name}.json is not valid at {error.json_path}: {error.message}.") from error
    present = {entry.name for entry in context.iterdir()} - {"Dockerfile", ".dockerignore"}
    copied = sources((context / "Dockerfile").read_text(encoding="utf-8"))
    if present != copied:
        raise _not_valid(f"The Dockerfile copies {sorted(copied)}, the context holds {sorted(present)}.")
    size = sum(sizes(context).values())
    if size > LIMIT:
        raise _not_valid(f"The context has {size / 1e6:.1f} MB, more than {LIMIT / 1e6:.0f}.")


def _not_valid(found: str) -> DataError:
    return DataError(
        found,
        rule="A build context meets the MAP specification, holds what its image copies and nothing else, and is small.",
        remedy="See what changed last in app.yaml, packaging/ and the lists of tools/package_content.py.",
    )
