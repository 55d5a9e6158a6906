"""Masks as files, and what their values mean."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from acuity.anatomy import SEGMENTS, Label
from acuity.errors import DataError
from acuity.research.datasets.brats import read_image
from acuity.volume import Volume

EXTENSIONS = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd")
LABELS: dict[str, int] = {spec.name: int(spec.label) for spec in SEGMENTS}
LABEL_INFO: list[dict[str, Any]] = [
    {"name": "background", "idx": int(Label.BACKGROUND)},
    *({"name": spec.name, "idx": int(spec.label), "color": list(spec.color)} for spec in SEGMENTS),
]


def write_mask(labels: Volume, extension: str) -> Path:
    """Write labels (uint8) to a new temporary file, whose place the caller takes over.

    Parameters
    ----------
    extension : one of EXTENSIONS. 3D Slicer reads names and colors of the segments from ``.seg.nrrd``; from the others
        it takes names in the order of the values that occur, which is wrong where one does not

    Raises
    ------
    DataError : for another extension
    """
    if extension not in EXTENSIONS:
        raise DataError(
            f"The result was asked for as {extension[:20]!r}.",
            rule=f"A mask is written as {', '.join(EXTENSIONS)}.",
            remedy="Set result_extension to one of them.",
        )
    image = labels.with_array(labels.array.astype(np.uint8)).to_sitk()
    if extension == ".seg.nrrd":
        for number, spec in enumerate(SEGMENTS):
            entries = {
                "ID": f"Segment_{spec.number}",
                "Name": spec.name,
                "LabelValue": str(int(spec.label)),
                "Layer": "0",
                "Color": " ".join(f"{part / 255:.6f}" for part in spec.color),
            }
            for key, value in entries.items():
                image.SetMetaData(f"Segment{number}_{key}", value)
    with tempfile.NamedTemporaryFile(prefix="acuity-", suffix=extension, delete=False) as file:
        path = Path(file.name)
    sitk.WriteImage(image, str(path), useCompression=extension != ".nii")
    return path


def read_labels(path: Path) -> Volume:
    """A mask of a datastore: uint8 of 0, 1, 2 and 4, on the grid of its image.

    Raises
    ------
    DataError : it holds other values
    """
    labels = read_image(path, np.uint8)
    if not np.isin(labels.array, [int(label) for label in Label]).all():
        raise DataError(
            f"A stored mask holds the values {np.unique(labels.array)[:8].tolist()}.",
            rule=f"Its values are {', '.join(str(int(label)) for label in Label)}.",
            remedy="Save it again through the server.",
        )
    return labels
