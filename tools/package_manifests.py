"""The manifests of a MONAI Application Package (MAP specification 1.0.0), and the commit that an image is made of."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from acuity.errors import DataError
from acuity.pipeline.stages import SEGMENTATION_BUNDLE, SUPER_RESOLUTION_BUNDLE

SPECIFICATION = "1.0.0"
BUNDLES = (SUPER_RESOLUTION_BUNDLE, SEGMENTATION_BUNDLE)
COMMAND = "exec python3 /opt/holoscan/app/app.py"  # exec: its exit code is the container's
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Revision:
    """A commit: its hash of 40 digits, and its time in seconds since 1970."""

    commit: str
    time: int

    @property
    def created(self) -> str:
        """The time as RFC 3339 writes it."""
        return datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_revision(repository: Path) -> Revision:
    """The commit that is checked out.

    Raises
    ------
    DataError
        When the folder is no git repository.
    """
    command = ["git", "-C", str(repository), "log", "-1", "--format=%H %ct"]
    try:
        commit, time = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        raise DataError(
            "The repository's commit cannot be read.",
            rule="An image is made of a commit of the repository, which it names.",
            remedy="Call the command in a clone, with git installed.",
        ) from None
    return Revision(commit, int(time))


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
        "environment": dict(re.findall(r"\b(HOLOSCAN_\w+)=(\S+)", dockerfile)),
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
    return {
        "apiVersion": SPECIFICATION,
        "applicationRoot": "/opt/holoscan/app/",
        "modelRoot": "/opt/holoscan/models/",
        "models": [{"name": bundle, "path": bundle} for bundle in BUNDLES],
        "resources": {**description["resources"], "gpu": 0},
        "version": description["application"]["version"],
        "platformConfig": "cpu",
    }


def labels(description: Manifest, revision: Revision) -> str:
    """Lines of a Dockerfile: the OCI annotations that the specification asks for, and the license."""
    application = description["application"]
    pairs = {
        "title": application["title"],
        "version": application["version"],
        "revision": revision.commit,
        "created": revision.created,
        "licenses": "Apache-2.0",
    }
    return "".join(f"LABEL org.opencontainers.image.{key}={json.dumps(value)}\n" for key, value in pairs.items())


def write_json(content: Manifest, path: Path) -> None:
    """Write a manifest, and the folder that it stands in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
