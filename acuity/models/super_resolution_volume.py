"""Running a network that restores whole volumes, in overlapping parts."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.models.progress import Progress

DISTANCE_UNIT = 4.0  # voxels: distances as networks see them are about -1 to 1
PART = 96  # voxels: edge of the parts that the network sees at once, about 0.5 GiB of activations
HALO = 24  # voxels round a part that the network sees, too: its receptive field


def sees_volumes(network: nn.Module) -> bool:
    """Whether a network restores whole volumes, not slices."""
    return bool(getattr(network, "volumes", False))


def distances(shape: Seq[int], ratios: Seq[float], part: Seq[slice] | None = None) -> Tensor:
    """How far voxels of a fine grid lie from the nearest measured sample along each axis: float32 (3, I, J, K).

    Parameters
    ----------
    shape : of the fine grid
    ratios : measured spacing over fine spacing along each axis. The outer faces of the first voxels coincide
    part : of the grid, all of it by default

    Returns
    -------
    In DISTANCE_UNIT fine voxels; 0 along an axis that was measured as finely
    """
    lines = []
    for axis, (size, ratio) in enumerate(zip(shape, ratios, strict=True)):
        places = (torch.arange(size) + 0.5) / ratio - 0.5
        away = (places - places.round()) * ratio / DISTANCE_UNIT
        lines.append(away if part is None else away[part[axis]])
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))


@torch.inference_mode()
def run_volume(
    interpolated: Tensor, ratios: Seq[float], region: Seq[slice], network: nn.Module, progress: Progress
) -> Tensor:
    """Restore a region of an interpolated volume; outside it stays as it is.

    Parameters
    ----------
    interpolated : (I, J, K), 0 to about 1, on the fine grid
    ratios : measured spacing over fine spacing along each axis
    region : box of the fine grid

    Returns
    -------
    (I, J, K), at least 0
    """
    result = interpolated.clone()
    parts = list(product(*(_parts(box) for box in region)))
    for number, part in enumerate(parts):
        outer = tuple(
            slice(max(0, p.start - HALO) // 2 * 2, min(n, p.stop + HALO))
            for p, n in zip(part, interpolated.shape, strict=True)
        )
        places = distances(interpolated.shape, ratios, outer).to(interpolated)
        image = torch.cat([interpolated[outer][None], places])[None]
        odd = [side for n in reversed(image.shape[2:]) for side in (0, n % 2)]
        restored = network(F.pad(image, odd, mode="replicate"))[0, 0]
        inner = tuple(slice(p.start - o.start, p.stop - o.start) for p, o in zip(part, outer, strict=True))
        result[part] = restored[inner].clamp_min(0)
        progress((number + 1) / len(parts))
    return result


def _parts(box: slice) -> list[slice]:
    return [slice(start, min(start + PART, box.stop)) for start in range(box.start, box.stop, PART)]
