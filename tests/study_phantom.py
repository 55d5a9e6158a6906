"""A four-series study of a small head with an asymmetric lesion, and bundles that run on it in a second.

Everything is defined in patient space (LPS mm), so that what a grid shows of it, and where it lies, is known apart
from any code that is tested.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from acuity.anatomy import Sequence
from acuity.networks.cascade import CoarseToFine
from acuity.volume import Grid
from tests.dicom_builder import oblique_affine, write_mr_series

# What a scanner's headers say of each sequence.
HEADERS: dict[Sequence, dict[str, Any]] = {
    Sequence.T1: {"RepetitionTime": "500", "EchoTime": "12"},
    Sequence.T1C: {
        "RepetitionTime": "500",
        "EchoTime": "12",
        "ContrastBolusAgent": "Gadobutrol",
        "AcquisitionTime": "104500",
    },
    Sequence.T2: {"RepetitionTime": "4500", "EchoTime": "98"},
    Sequence.FLAIR: {
        "RepetitionTime": "9000",
        "EchoTime": "120",
        "InversionTime": "2500",
        "ScanningSequence": ["SE", "IR"],
    },
}

_CENTER = np.array([8.0, 14.0, -6.0])  # of the brain, mm LPS
_SEMIAXES = np.array([42.0, 52.0, 46.0])  # 420 ml
_LESION = _CENTER + [12.0, -18.0, 9.0]
# Signal of brain, edema, enhancing tumor, necrosis; outside the brain it is 0.
_SIGNALS: dict[Sequence, tuple[float, float, float, float]] = {
    Sequence.T1: (500.0, 430.0, 430.0, 200.0),
    Sequence.T1C: (500.0, 430.0, 1200.0, 200.0),
    Sequence.T2: (400.0, 800.0, 700.0, 950.0),
    Sequence.FLAIR: (400.0, 900.0, 900.0, 900.0),
}


def tissue(points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """What lies at (..., 3) points in mm, LPS: 0 air, 1 brain, 2 edema, 3 enhancing tumor, 4 necrosis.

    The whole tumor is a large ball and a small one beside it: no mirror image or turn of it looks the same.
    """
    result = (np.sum(((points - _CENTER) / _SEMIAXES) ** 2, axis=-1) < 1.0).astype(np.uint8)
    balls = ((2, (0, 0, 0), 15.0), (2, (15, -5, 6), 9.0), (3, (-3, 2, 0), 10.0), (4, (-3, 2, 0), 6.0))
    for kind, offset, radius in balls:
        result[np.linalg.norm(points - (_LESION + offset), axis=-1) < radius] = kind
    return result


def lesion_centroid() -> NDArray[np.float64]:
    """Centroid of the whole tumor in mm, LPS, to about 0.05 mm."""
    axes = [np.arange(c - 30.0, c + 30.0) for c in _LESION]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return points[tissue(points) >= 2].mean(axis=0)


def image(sequence: Sequence, grid: Grid, parts: int = 3) -> NDArray[np.float64]:
    """(I, J, K): each voxel is the mean signal at ``parts`` cubed points in it."""
    offsets = (np.arange(parts) + 0.5) / parts - 0.5
    indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).astype(float)
    total = np.zeros(grid.shape)
    for shift in np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3):
        points = (indices + shift) @ grid.affine[:3, :3].T + grid.origin
        total += np.array([0.0, *_SIGNALS[sequence]])[tissue(points)]
    return total / parts**3


def oblique_grid(
    spacing: tuple[float, float, float] = (5.0, 5.0, 5.0), angles: tuple[float, float, float] = (10.0, -8.0, 12.0)
) -> Grid:
    """A grid centered on the brain that holds it with a margin of a centimeter."""
    i, j, k = (int(np.ceil(extent / step)) for extent, step in zip((110.0, 130.0, 116.0), spacing, strict=True))
    affine = oblique_affine(spacing, angles, (0.0, 0.0, 0.0))
    affine[:3, 3] = _CENTER - affine[:3, :3] @ (np.array([i, j, k]) - 1) / 2
    return Grid((i, j, k), affine)


def write_study(folder: Path, grids: Mapping[Sequence, Grid] | None = None, noise: float = 8.0, **header: Any) -> None:
    """Write four classic series, a subfolder each.

    Parameters
    ----------
    grids : of the series; ``oblique_grid()`` for those not named
    noise : standard deviation inside the brain; outside it the image is exactly 0
    **header : goes into every image
    """
    for number, sequence in enumerate(Sequence, start=1):
        grid = (grids or {}).get(sequence) or oblique_grid()
        array = image(sequence, grid)
        array[array > 0] += np.random.default_rng(number).normal(0.0, noise, np.count_nonzero(array))
        write_mr_series(
            folder / sequence.value,
            np.maximum(array, 0.0).round(),
            grid.affine,
            name=sequence.value,
            series_number=number,
            **{**HEADERS[sequence], **header},
        )


def write_bundles(folder: Path) -> Path:
    """Write two bundles in the released layout: an identity in place of the generator, thresholds for the U-Net."""
    _write_bundle(folder / "brain_mri_super_resolution", Identity(), "Identity")
    _write_bundle(folder / "brain_tumor_segmentation", Thresholds(), "Thresholds")
    return folder


def _write_bundle(folder: Path, network: nn.Module, name: str) -> None:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "0.0.1"}))
    network_def = {"network_def": {"_target_": f"tests.study_phantom.{name}"}}
    (folder / "configs" / "inference.json").write_text(json.dumps(network_def))
    torch.save(network.state_dict(), folder / "models" / "model.pt")


class Identity(nn.Module):
    """Gives back its slices (N, 1, H, W): what remains is cubic interpolation and data consistency."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, slices: Tensor) -> Tensor:
        """(N, 1, H, W) to the same."""
        return self.gain * slices


class Thresholds(nn.Module):
    """Finds the lesion in z-scored sequences by thresholds, with the interface of ``CoarseToFine``."""

    fine_weight = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.flair = nn.Parameter(torch.tensor(2.0))
        self.enhancing = nn.Parameter(torch.tensor(2.5))
        self.dark = nn.Parameter(torch.tensor(-2.5))

    def coarse_logits(self, image: Tensor) -> Tensor:
        """(1, 4, I, J, K) to logits (1, 3, I, J, K) of ET, TC, WT."""
        t1, t1c, _, flair = image.unbind(1)
        whole = flair - self.flair
        enhancing = torch.minimum(t1c - self.enhancing, whole)
        core = torch.maximum(enhancing, torch.minimum(self.dark - t1, whole))
        return 20.0 * torch.stack([enhancing, core, whole], dim=1)

    fine_logits = coarse_logits
    joined = CoarseToFine.joined

    def search_logits(self, image: Tensor) -> None:
        """No quick look: both stages see the same."""
