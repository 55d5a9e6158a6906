"""Super-resolved and interpolated versions of training cases, so that such inputs are not foreign to the segmenter."""

from __future__ import annotations

import logging
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from acuity.anatomy import Sequence, labels_to_regions
from acuity.models.bundle import Bundle, load_bundle
from acuity.models.super_resolution import super_resolve
from acuity.research.datasets import brats
from acuity.research.degradations.volumes import interpolated, low_resolution
from acuity.research.training.loop import save_atomically
from acuity.volume import Volume

logger = logging.getLogger(__name__)


def super_resolved(volume: Volume, low: Volume, bundle: Bundle) -> NDArray[np.float32]:
    """``low`` super-resolved onto the grid of ``volume``."""
    spacing = (float(volume.spacing[0]), float(volume.spacing[1]), float(volume.spacing[2]))
    array = super_resolve(low, bundle.network, spacing=spacing).volume.array
    i, j, k = volume.shape
    return array[:i, :j, :k]


def make(
    *,
    data: str | None,
    models: str,
    output: str,
    cases: Seq[str],
    bundle: str = "brain_mri_super_resolution",
    margin: int = 20,
) -> None:
    """Write ``output``: super-resolved and interpolated crops about the tumors of ``cases``.

    Each is a dict of the fields of ``PreparedCase``; images are z-scored with the statistics of the whole brain.
    Cases already in the file are kept, so a cut run goes on where it stopped.
    """
    path = Path(output)
    items: list[dict] = torch.load(path, weights_only=True) if path.is_file() else []
    finished = {item["name"] for item in items}
    generator = load_bundle(Path(models), bundle)
    source = brats.data_folder(data)
    for name in tqdm([c for c in cases if c not in finished], desc="degrading", mininterval=5):
        images, labels = brats.read_case(source / name), brats.read_labels(source / name)
        box = _tumor_box(labels.array, margin)
        regions = torch.from_numpy(labels_to_regions(labels.array[box]).astype(np.uint8))
        versions: dict[str, list[NDArray]] = {"super_resolved": [], "interpolated": []}
        for sequence in Sequence:
            volume = images[sequence]
            inside = volume.array[volume.array > 0]
            part = Volume(np.ascontiguousarray(volume.array[box]), np.eye(4))
            low = low_resolution(part)
            for kind, array in (
                ("super_resolved", super_resolved(part, low, generator)),
                ("interpolated", interpolated(part, low)),
            ):
                scored = np.clip((array - inside.mean()) / inside.std(), -5, 5) * (part.array > 0)
                versions[kind].append(scored.astype(np.float16))
        items += [
            {"name": name, "image": torch.from_numpy(np.stack(arrays)), "regions": regions}
            for arrays in versions.values()
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        save_atomically(items, path)


def _tumor_box(labels: NDArray[np.uint8], margin: int) -> tuple[slice, slice, slice]:
    hits = np.argwhere(labels > 0)
    low = np.maximum(hits.min(axis=0) - margin, 0) // 2 * 2
    high = np.minimum((hits.max(axis=0) + margin + 2) // 2 * 2, np.array(labels.shape) // 2 * 2)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return i, j, k
