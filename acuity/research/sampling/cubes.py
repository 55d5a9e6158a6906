"""Cubes cut round the tumors of many patients: too small for a brain, enough to tell enhancement, core and edema."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from acuity.anatomy import labels_to_regions
from acuity.errors import any_as_data_error
from acuity.imaging.intensity import LIMIT
from acuity.research.sampling.patches import PreparedCase


@dataclass(frozen=True)
class Cube:
    """A cube at 1 mm.

    Parameters
    ----------
    case : its image and regions, as of a whole brain
    low_grade : whether the patient's tumor is of low grade
    cut_share : part of the tumor's voxels that lie on the cube's faces; 0 where all of the tumor is inside
    """

    case: PreparedCase
    low_grade: bool
    cut_share: float


def read_cubes(path: Path, left_out: Collection[str] = ()) -> list[Cube]:
    """Read the cubes of an .npz file, brought to 1 mm by trilinear interpolation.

    Parameters
    ----------
    path : of the arrays ``x`` (N, 4, I, J, K) uint8, 0 outside the brain, else ``scale[0] * x + scale[1]`` is the
        z-score over the brain; ``y`` (N, I, J, K), labels 0, 1, 2, 4; ``spacing_mm`` (3,); ``patient`` and ``also``
        (N,), two names of each patient; ``low_grade`` (N,)
    left_out : names of patients that are held out

    Raises
    ------
    DataError : the file is absent or lacks an array
    """
    with (
        any_as_data_error(
            f"{path.name} cannot be read as cubes",
            rule="It holds the arrays x, y, scale, spacing_mm, patient, also and low_grade.",
            remedy="Give another file, or train without cubes.",
        ),
        np.load(path, allow_pickle=False) as file,
    ):
        x, y, scale, spacing = (file[name] for name in ("x", "y", "scale", "spacing_mm"))
        names = list(zip(file["patient"], file["also"], file["low_grade"], strict=True))
    size = tuple(round(n * mm) for n, mm in zip(y.shape[1:], spacing, strict=True))
    return [
        Cube(_prepared(str(patient), image, labels, scale, size), bool(low_grade), _cut_share(labels > 0))
        for image, labels, (patient, also, low_grade) in zip(x, y, names, strict=True)
        if patient not in left_out and also not in left_out
    ]


def _prepared(name: str, image: NDArray, labels: NDArray, scale: NDArray, size: tuple[int, ...]) -> PreparedCase:
    inside = torch.from_numpy(image != 0).float()
    scores = torch.from_numpy((image * scale[0] + scale[1]).astype(np.float32)).clamp(-LIMIT, LIMIT) * inside
    weight = _resized(inside, size)
    # Voxels of the border are the mean of what lies inside the brain.
    resized = _resized(scores, size) / weight.clamp(min=0.1) * (weight >= 0.5)
    regions = _resized(torch.from_numpy(labels_to_regions(labels).astype(np.float32)), size) >= 0.5
    return PreparedCase(name, resized.half(), regions.to(torch.uint8))


def _resized(image: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(image[None], size=size, mode="trilinear", align_corners=False)[0]


def _cut_share(tumor: NDArray[np.bool_]) -> float:
    within = tumor[1:-1, 1:-1, 1:-1].sum()
    return float(1 - within / max(1, tumor.sum()))
