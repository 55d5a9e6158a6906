"""Folders of cases for the label server, masks as clients write and read them, and a tiny model to train."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import nn

from acuity.anatomy import Label, Sequence
from acuity.networks.cascade import CoarseToFine
from acuity.volume import Grid, Volume
from label.case import write_volume
from tests.study_phantom import image, oblique_grid, tissue, write_bundles

GRID = oblique_grid((4.0, 4.0, 4.0))
FLAIR_GRID = oblique_grid((5.0, 4.0, 6.0), (4.0, 12.0, -7.0))
SUFFIX = {Sequence.T1: "t1", Sequence.T1C: "t1ce", Sequence.T2: "t2", Sequence.FLAIR: "flair"}
# What ``tests.study_phantom.tissue`` numbers, as BraTS does: air, brain, edema, enhancing tumor, necrosis.
_LABELS = np.array([0, 0, Label.EDEMA, Label.ENHANCING, Label.NECROSIS], dtype=np.uint8)


def truth(grid: Grid = GRID) -> NDArray[np.uint8]:
    """The labels of the phantom at the voxels' centers."""
    indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).astype(float)
    return _LABELS[tissue(indices @ grid.affine[:3, :3].T + grid.origin)]


def speckle(grid: Grid, seed: int = 0) -> NDArray[np.uint8]:
    """Voxels of any label, so that one wrong voxel shows, in a lopsided box."""
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:7, 3:7, 2:8] = np.random.default_rng(seed).choice([0, 1, 2, 4], (5, 4, 6))
    return labels


def draw(path: Path, labels: NDArray[np.uint8], grid: Grid) -> str:
    """A label file as a client writes it: by SimpleITK, which knows nothing of ours."""
    picture = sitk.GetImageFromArray(np.ascontiguousarray(labels.transpose(2, 1, 0)))
    picture.SetOrigin([float(x) for x in grid.origin])
    picture.SetSpacing([float(x) for x in grid.spacing])
    picture.SetDirection([float(x) for x in grid.direction.ravel()])
    sitk.WriteImage(picture, str(path))
    return str(path)


def seen(path: str | Path) -> tuple[NDArray[np.uint8], Grid]:
    """A mask as ITK reads it, which 3D Slicer does too."""
    picture = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(picture.GetDirection(), (3, 3)) * picture.GetSpacing()
    affine[:3, 3] = picture.GetOrigin()
    array = sitk.GetArrayFromImage(picture).transpose(2, 1, 0)
    return array, Grid(array.shape, affine)


def centroid(mask: NDArray[np.uint8], grid: Grid) -> NDArray[np.float64]:
    """Of the labeled voxels, mm LPS."""
    return grid.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + grid.origin


def write_case(root: Path, name: str, *, grids: dict[Sequence, Grid] | None = None, noise: int = 0) -> Path:
    """A case of four sequences as NIfTI; the head outside the brain is exactly 0."""
    folder = root / name
    folder.mkdir(parents=True)
    for sequence in Sequence:
        grid = (grids or {}).get(sequence, GRID)
        array = image(sequence, grid, parts=2)
        rng = np.random.default_rng([noise, list(Sequence).index(sequence)])
        array[array > 0] = np.maximum(array[array > 0] + rng.normal(0, 8, np.count_nonzero(array)), 1)
        write_volume(Volume(array.astype(np.float32), grid.affine), folder / f"{name}_{SUFFIX[sequence]}.nii.gz")
    return folder


def write_label(root: Path, name: str, labels: NDArray[np.uint8], tag: str = "final", grid: Grid = GRID) -> None:
    """A label where a folder of cases has it."""
    path = root / "labels" / tag / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(labels, grid.affine), path)


def write_trainable_bundles(folder: Path) -> Path:
    """The bundles of ``tests.study_phantom``, but the segmentation is a pair of single convolutions.

    It begins with what its own thresholds would find, so that it has something to lose.
    """
    write_bundles(folder)
    network = CoarseToFine(first_guess(), first_guess())
    bundle = folder / "brain_tumor_segmentation"
    stage = {"_target_": "torch.nn.Conv3d", "in_channels": 4, "out_channels": 3, "kernel_size": 1}
    definition = {"_target_": "acuity.networks.cascade.CoarseToFine", "coarse": stage, "fine": stage}
    (bundle / "configs" / "inference.json").write_text(json.dumps({"network_def": definition}))
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return folder


def first_guess() -> nn.Conv3d:
    """Logits of ET, TC and WT that rise with T1c, with its difference from T1, and with FLAIR."""
    layer = nn.Conv3d(4, 3, 1)
    with torch.no_grad():
        layer.weight.zero_()
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor([-10.0, -10.0, -4.0]))
        layer.weight[0, 1] = layer.weight[1, 1] = 4.0
        layer.weight[2, 3] = 2.0
    return layer
