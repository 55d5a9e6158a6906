"""Labels as clients send them: a file whose values may mean anything, and a list that says what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from acuity.anatomy import Label
from acuity.dicom.reading.read_seg import label_named
from acuity.errors import DataError
from acuity.volume import Grid, Volume, sitk_affine
from label.datastores.placement import exact_labels

_FORMATS = (".nii.gz", ".nii", ".nrrd")


def read_upload(path: Path, label_info: Iterable[Mapping[str, Any]], grid: Grid) -> Volume:
    """Read a label file.

    Parameters
    ----------
    path : NIfTI or NRRD; 3D Slicer numbers values by the order of its segments
    label_info : for each segment its "name" and its value "idx" (its place in the list, from 1, where that is absent);
        empty where the values are Acuity's own, 0, 1, 2 and 4
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
    meanings = _meanings(label_info)
    array = np.zeros(drawn.shape, np.uint8)
    for value in np.unique(drawn.array).tolist():
        if value == 0:
            continue
        label = meanings.get(value)
        if label is None:
            fault = "has a name that is not known" if value in meanings else "has no name"
            raise DataError(
                f"The labels hold the value {value:g}, which {fault}.",
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
    if not path.name.endswith(_FORMATS):
        raise DataError(
            "The label file is neither NIfTI nor NRRD.",
            rule=f"It ends with {', '.join(_FORMATS)}.",
            remedy="Save it as .nii.gz.",
        )
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise DataError(
            "The label file cannot be read.", rule="It is one whole NIfTI or NRRD file.", remedy="Save it again."
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise DataError(
            f"The label file has {image.GetDimension()} axes of {image.GetNumberOfComponentsPerPixel()} values.",
            rule="It is one volume of whole numbers.",
            remedy="Export the segments as one label map.",
        )
    return Volume(np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0)), sitk_affine(image))


def _meanings(label_info: Iterable[Mapping[str, Any]]) -> dict[float, Label | None]:
    """What each value stands for; None for a name that is not Acuity's."""
    meanings: dict[float, Label | None] = {}
    for place, item in enumerate(label_info, start=1):
        try:
            name, value = str(item["name"]), int(item.get("idx", place))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                "An item of label_info has no name, or an idx that is no number.",
                rule='Each is {"name": NAME, "idx": VALUE}.',
                remedy="Correct the request.",
            ) from error
        meanings[value] = label_named(name)
    return meanings or {label.value: label for label in Label if label is not Label.BACKGROUND}
