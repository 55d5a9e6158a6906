"""Running a network that restores whole volumes."""

from __future__ import annotations

import torch
from torch import Tensor

DISTANCE_UNIT = 4.0  # voxels: distances as networks see them are about -1 to 1


def distances(shape: tuple[int, ...], ratios: tuple[float, ...]) -> Tensor:
    """How far voxels of a fine grid lie from the nearest measured sample along each axis: float32 (3, I, J, K).

    Parameters
    ----------
    shape : of the fine grid
    ratios : measured spacing over fine spacing along each axis. The outer faces of the first voxels coincide

    Returns
    -------
    In DISTANCE_UNIT fine voxels; 0 along an axis that was measured as finely
    """
    found = []
    for axis, (size, ratio) in enumerate(zip(shape, ratios, strict=True)):
        places = (torch.arange(size) + 0.5) / ratio - 0.5
        away = (places - places.round()) * ratio / DISTANCE_UNIT
        view = [1, 1, 1]
        view[axis] = size
        found.append(away.reshape(view).expand(*shape))
    return torch.stack(found)
