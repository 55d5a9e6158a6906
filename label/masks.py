"""Label maps as files: those that tasks give out, those of a datastore, and those that clients send."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from acuity.anatomy import SEGMENTS, Label
from acuity.dicom.reading.read_seg import label_named
from acuity.errors import DataError
from acuity.research.datasets.brats import read_image
from acuity.volume import Grid, Volume
from label.request import Segment
from label.spaces import exact_labels
from label.uploads import EXTENSIONS, open_upload

_MOST_TIMES = 4  # the voxels of its image that a label map may have: viewers may write a longer grid
LABELS: dict[str, int] = {spec.name: int(spec.label) for spec in SEGMENTS}
LABEL_INFO: list[dict[str, Any]] = [
    {"name": "background", "idx": int(Label.BACKGROUND)},
    *({"name": spec.name, "idx": int(spec.label), "color": list(spec.color)} for spec in SEGMENTS),
]


def write_mask(labels: Volume, extension: str) -> Path:
    """Write labels (uint8) to a new temporary file, which the caller deletes.

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
    """A mask of a datastore: uint8 of 0, 1, 2 and 4, on the grid of its image; DataError for other values."""
    labels = read_image(path, np.uint8)
    if not np.isin(labels.array, [int(label) for label in Label]).all():
        raise DataError(
            f"A stored mask holds the values {np.unique(labels.array)[:8].tolist()}.",
            rule=f"Its values are {', '.join(str(int(label)) for label in Label)}.",
            remedy="Save it again through the server.",
        )
    return labels


def read_upload(path: Path, segments: Iterable[Segment], grid: Grid) -> Volume:
    """Read a label map of a client, slice by slice: it costs no more memory than the image that it was drawn on.

    Parameters
    ----------
    path : see ``label.uploads.open_upload``; 3D Slicer numbers values by the order of its segments
    segments : meanings of the values; none where the values are Acuity's own, 0, 1, 2 and 4
    grid : of the image that the labels were drawn on

    Returns
    -------
    Volume
        uint8 of 0, 1, 2 and 4 on ``grid``, the voxels as they were drawn.

    Raises
    ------
    DataError
        When the file cannot be read, has far more voxels than ``grid``, a value has no or an unknown name, or a voxel
        fits none of ``grid``.
    """
    # None for a name that is not Acuity's
    meanings: dict[float, Label | None] = {
        place if segment.idx is None else segment.idx: label_named(segment.name)
        for place, segment in enumerate(segments, start=1)
    } or {label.value: label for label in Label if label is not Label.BACKGROUND}
    with open_upload(path, _MOST_TIMES * math.prod(grid.shape)) as upload:
        array = np.zeros(upload.shape, np.uint8)
        for k, drawn in enumerate(upload.slices):
            for value in np.unique(drawn[drawn != 0]).tolist():
                array[:, :, k][drawn == value] = _meaning(value, meanings)
    exact = exact_labels(Volume(array, upload.affine), grid)
    if exact is None:
        raise DataError(
            "The labels do not lie on the voxels of the image.",
            rule="Labels are drawn on the grid of the image that was opened.",
            remedy="Export them with that image as the reference, and name its id.",
        )
    return exact


def _meaning(value: float, meanings: Mapping[float, Label | None]) -> Label:
    label = meanings.get(value)
    if label is None:
        raise DataError(
            f"The labels hold the value {value:g}, which has {'an unknown' if value in meanings else 'no'} name.",
            rule="Values are named by label_info as Acuity names its segments, or are 1, 2 and 4 without it.",
            remedy="Keep the names of the segments, or start from Acuity's segmentation.",
        )
    return label
