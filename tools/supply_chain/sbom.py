"""Writes the software bill of materials of the application's image: CycloneDX 1.6, JSON.

cyclonedx-py lists the packages of the lock. Acuity itself, the licenses of `docs/licenses.md`, the weights as machine
learning models and the dependencies are added. The bill is made of files of the repository alone: the same commit gives
the same bytes, on any machine, without a network.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acuity import __version__
from acuity.errors import AcuityError, DataError
from tools.package_manifests import Revision, read_revision
from tools.supply_chain.licenses import read_page
from tools.supply_chain.lock import LOCK, REPOSITORY, read_dependents
from tools.supply_chain.weights import Weights, read_weights

_APPLICATION = f"pkg:generic/acuity-mr@{__version__}"


def bill_of_materials(revision: Revision) -> dict[str, Any]:
    """The bill of the image that is built from a commit, as CycloneDX's JSON schema wants it.

    Raises
    ------
    DataError
        When the licenses of the locked versions are not stated.
    """
    packages = {entry["name"]: entry for entry in _locked_packages()}
    licenses = read_page()
    if unstated := [n for n, entry in packages.items() if licenses.get(n, ("", ""))[0] != entry["version"]]:
        raise DataError(
            f"docs/licenses.md does not state the licenses of the locked {', '.join(unstated)}.",
            rule="A bill of materials gives each component's license.",
            remedy="Run `python tools/supply_chain/licenses.py --write`.",
        )
    weights = [item for item in read_weights() if item.in_the_image]
    components = [_package(entry, licenses[name][1]) for name, entry in packages.items()]
    components += [_model(item) for item in weights]
    body = {"components": components, "dependencies": _dependencies(packages, weights)}
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"acuity-mr:{revision.commit}:{json.dumps(body, sort_keys=True)}")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial.urn,
        "version": 1,
        "metadata": {
            "timestamp": revision.created,
            "lifecycles": [{"phase": "pre-build"}],
            "component": {
                "type": "application",
                "bom-ref": _APPLICATION,
                "name": "acuity-mr",
                "version": __version__,
                "description": "MR super-resolution and brain tumor segmentation, from DICOM to DICOM",
                "licenses": [{"expression": "Apache-2.0"}],
                "purl": _APPLICATION,
                "properties": [{"name": "acuity:commit", "value": revision.commit}],
            },
        },
        **body,
    }


def _locked_packages() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--output-format", "JSON"]
    done = subprocess.run([*command, "--spec-version", "1.6", LOCK], stdout=subprocess.PIPE, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)["components"]
    return found


def _package(entry: dict[str, Any], license: str) -> dict[str, Any]:
    # cyclonedx-py's description repeats the line of the lock, and its reference is the line's number
    kept = {key: value for key, value in entry.items() if key != "description"}
    return {**kept, "bom-ref": entry["purl"], "scope": "required", "licenses": [{"expression": license}]}


def _model(item: Weights) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": _model_reference(item),
        "name": item.name,
        "version": item.version,
        "description": item.task,
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": item.sha256}],
        "licenses": [{"expression": item.license}],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": item.task,
                "architectureFamily": "convolutional neural network",
                "modelArchitecture": item.architecture,
                "datasets": [{"type": "dataset", "name": "training data", "description": item.data}],
            },
            "considerations": {"useCases": [item.intended_use]},
        },
        "properties": [{"name": "acuity:file", "value": item.file}],
    }


def _model_reference(item: Weights) -> str:
    return f"weights:{item.name}@{item.version}"


def _dependencies(packages: dict[str, dict[str, Any]], weights: Sequence[Weights]) -> list[dict[str, Any]]:
    """What needs what. Weights inside a package depend from it, those of a bundle from the application."""
    references = {"": _APPLICATION, **{name: entry["purl"] for name, entry in packages.items()}}
    graph: dict[str, list[str]] = {reference: [] for reference in references.values()}
    for name, dependents in read_dependents(LOCK.read_text()).items():
        for dependent in dependents:
            graph[references[dependent]].append(references[name])
    for item in weights:
        graph[references[item.package]].append(_model_reference(item))
        graph[_model_reference(item)] = []
    return [{"ref": reference, "dependsOn": sorted(needed)} for reference, needed in graph.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the bill of the commit that is checked out; the exit code is 0, or the error's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, metavar="FILE", required=True, help="file to write")
    options = parser.parse_args(arguments)
    try:
        bill = bill_of_materials(read_revision(REPOSITORY))
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(bill, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
