"""Label maps as files: those that tasks give out, those of a datastore, and those that clients send."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from acuity.anatomy import SEGMENTS, Label
from acuity.dicom.reading.read_seg import label_named
from acuity.errors import DataError
from acuity.research.datasets.brats import read_image
from acuity.volume import Grid, Volume, sitk_affine
from label.request import Segment
from label.spaces import exact_labels

EXTENSIONS = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd")
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
    """Read a label map of a client.

    Parameters
    ----------
    path : NIfTI or NRRD; 3D Slicer numbers values by the order of its segments
    segments : meanings of the values; none where the values are Acuity's own, 0, 1, 2 and 4
    grid : of the image that the labels were drawn on

    Returns
    -------
    Volume
        uint8 of 0, 1, 2 and 4 on ``grid``, the voxels as they were drawn.

    Raises
    ------
    DataError
        When the file cannot be read, a value has no or an unknown name, or a voxel fits none of ``grid``.
    """
    drawn = _read(path)
    # None for a name that is not Acuity's
    meanings: dict[float, Label | None] = {
        place if segment.idx is None else segment.idx: label_named(segment.name)
        for place, segment in enumerate(segments, start=1)
    } or {label.value: label for label in Label if label is not Label.BACKGROUND}
    array = np.zeros(drawn.shape, np.uint8)
    for value in np.unique(drawn.array[drawn.array != 0]).tolist():
        label = meanings.get(value)
        if label is None:
            raise DataError(
                f"The labels hold the value {value:g}, which has {'an unknown' if value in meanings else 'no'} name.",
                rule="Values are named by label_info as Acuity names its segments, or are 1, 2 and 4 without it.",
                remedy="Keep the names of the segments, or start from Acuity's segmentation.",
            )
        array[drawn.array == value] = label
    exact = exact_labels(drawn.with_array(array), grid)
    if exact is None:
        raise DataError(
            "The labels do not lie on the voxels of the image.",
            rule="Labels are drawn on the grid of the image that was opened.",
            remedy="Export them with that image as the reference, and name its id.",
        )
    return exact


def _read(path: Path) -> Volume:
    try:
        image = sitk.ReadImage(str(path)) if path.name.endswith(EXTENSIONS) else None
    except RuntimeError:
        image = None
    if image is None or image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise DataError(
            "The label file cannot be read as one volume of whole numbers.",
            rule=f"It is one whole NIfTI or NRRD file ({', '.join(EXTENSIONS)}) with three axes and one value a voxel.",
            remedy="Export the segments as one label map, and save it as .nii.gz.",
        )
    return Volume(np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0)), sitk_affine(image))
