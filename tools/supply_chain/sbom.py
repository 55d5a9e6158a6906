"""Writes the software bill of materials of the application's image: CycloneDX 1.6, JSON.

It lists the packages as they are locked, the weights as machine learning models, and Acuity itself. It is made of files
of the repository alone: the same commit gives the same bytes, on any machine, without a network.
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acuity import __version__
from acuity.errors import AcuityError
from tools.package_content import read_revision
from tools.supply_chain.licenses import checked_licenses, read_policy
from tools.supply_chain.packages import REPOSITORY, Package, read_packages, wanted_names
from tools.supply_chain.weights import IN_THE_IMAGE, Weights, read_weights

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_APPLICATION = f"pkg:generic/acuity-mr@{__version__}"


def bill_of_materials(repository: Path, commit: str, time: int) -> dict[str, Any]:
    """The bill of the image that is built from ``repository``, as CycloneDX's JSON schema wants it.

    Parameters
    ----------
    commit : hash of the commit, for the serial number
    time : of the commit, in seconds since 1970

    Raises
    ------
    DataError
        When a license is unknown or not allowed, or the lock and its record differ.
    """
    packages = read_packages(repository)
    weights = [item for item in read_weights(repository) if item.package or item.name in IN_THE_IMAGE]
    licenses = checked_licenses(packages, weights, read_policy(repository))
    components = [_package(package, licenses[package.name]) for package in packages]
    components += [_model(item, licenses[item.name]) for item in weights]
    body = {
        "components": components,
        "dependencies": _dependencies(packages, weights, wanted_names(repository)),
    }
    # of the commit and the content, so that a working tree with changes does not share the commit's number
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"acuity-mr:{commit}:{json.dumps(body, sort_keys=True)}")
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial.urn,
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycles": [{"phase": "pre-build"}],
            "tools": {"components": [{"type": "application", "name": "acuity-mr sbom", "version": __version__}]},
            "component": {
                "type": "application",
                "bom-ref": _APPLICATION,
                "name": "acuity-mr",
                "version": __version__,
                "description": "MR super-resolution and brain tumor segmentation, from DICOM to DICOM",
                "licenses": [{"expression": "Apache-2.0"}],
                "purl": _APPLICATION,
                "properties": [{"name": "acuity:commit", "value": commit}],
            },
        },
        **body,
    }


def _package(package: Package, license: str) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "description": package.summary,
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": package.sha256}],
        "licenses": [{"expression": license}],
        "purl": package.purl,
        "properties": [{"name": "acuity:wheel", "value": package.file}],
    }


def _model(item: Weights, license: str) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": _model_reference(item),
        "name": item.name,
        "version": item.version,
        "description": item.task,
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": item.sha256}],
        "licenses": [{"expression": license}],
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


def _dependencies(
    packages: Sequence[Package], weights: Sequence[Weights], wanted: Sequence[str]
) -> list[dict[str, Any]]:
    """Who needs whom; weights inside a package hang on it."""
    references = {package.name: package.purl for package in packages}
    ours = [_model_reference(item) for item in weights if not item.package]
    graph = [{"ref": _APPLICATION, "dependsOn": sorted([*(references[name] for name in wanted), *ours])}]
    for package in packages:
        inside = [_model_reference(item) for item in weights if item.package == package.name]
        needed = [references[name] for name in package.requires]
        graph.append({"ref": package.purl, "dependsOn": sorted([*needed, *inside])})
    return graph + [{"ref": _model_reference(item), "dependsOn": []} for item in weights]


def text_of(bill: dict[str, Any]) -> str:
    """The bill as the bytes of its file."""
    return json.dumps(bill, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the bill of the commit that is checked out; the exit code is 0, or the error's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there instead of printing it")
    options = parser.parse_args(arguments)
    try:
        revision = read_revision(REPOSITORY)
        text = text_of(bill_of_materials(REPOSITORY, revision.commit, revision.time))
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.output:
        options.output.write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
