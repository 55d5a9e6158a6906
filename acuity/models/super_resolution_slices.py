"""Running a network over the slices of a volume, whatever its scale."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.imaging.forward_model import resize_cubic
from acuity.imaging.regions import mask_box
from acuity.models.progress import Progress

BATCH_PIXELS = 200_000  # pixels that a batch of slices has in the network: about 0.6 GiB of activations
FOREGROUND = 0.05  # of the bright end; darker pixels are background, which is interpolated only
CONTEXT = 8  # voxels kept around the foreground, about the generator's receptive field
RIM = 4  # pixels repeated around an image for networks that pad with zeros, which darken its border


def scale_of(network: nn.Module) -> int:
    """How much a network enlarges both axes of a slice; 1 for those that restore an interpolated one."""
    return int(getattr(network, "scale", 1))


@torch.inference_mode()
def run_slices(
    volume: Tensor,
    axis: int,
    size: tuple[int, ...],
    ratios: tuple[float, ...],
    network: nn.Module,
    region: tuple[slice, ...],
    progress: Progress,
) -> Tensor:
    """Bring a volume to another size, the slices across ``axis`` by the network, in batches.

    The network enlarges slices by its scale, in the box of each batch's foreground; everything else is interpolated.
    Cubic resizing, antialiased where it shrinks, brings them from there to ``size``. The faces of the volumes coincide.

    Parameters
    ----------
    volume : (I, J, K), 0 to about 1
    axis : which the slices follow one another along; it keeps its size
    size, ratios : of the result and its spacing over the volume's, along all three axes; for a network of scale 1,
        which does not enlarge, they are the volume's and 1
    region : box of the volume outside of which the network does not run

    Returns
    -------
    The volume of ``size``, at least 0
    """
    scale = scale_of(network)
    result = torch.movedim(resize_cubic(volume, size, ratios).clamp_min(0), axis, 0)[:, None]
    slices = torch.movedim(volume, axis, 0)[:, None]
    first, second = (a for a in range(3) if a != axis)
    numbers, rows, columns = region[axis], region[first], region[second]
    pixels = scale**2 * (rows.stop - rows.start) * (columns.stop - columns.start)
    batch = max(1, BATCH_PIXELS // pixels)
    for start in range(numbers.start, numbers.stop, batch):
        chosen = slice(start, min(start + batch, numbers.stop))
        enlarged = _enlarge(slices[chosen], network, (rows, columns))
        if enlarged is not None:
            steps = (ratios[first] * scale, ratios[second] * scale)
            result[chosen] = resize_cubic(enlarged, (size[first], size[second]), steps).clamp_min(0)
        progress((chosen.stop - numbers.start) / (numbers.stop - numbers.start))
    return torch.movedim(result[:, 0], 0, axis)


def foreground_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The box of ``mask`` with CONTEXT voxels around it; everything where the mask is empty."""
    return mask_box(mask, CONTEXT) or tuple(slice(0, size) for size in mask.shape)


def _enlarge(slices: Tensor, network: nn.Module, region: tuple[slice, slice]) -> Tensor | None:
    """Slices (N, 1, h, w) to (N, 1, scale * h, scale * w); None where the region holds background only."""
    foreground = (slices[..., region[0], region[1]] > FOREGROUND).any(dim=0)[0].cpu().numpy()
    if not foreground.any():
        return None
    scale = scale_of(network)
    rows, columns = (
        slice(r.start + b.start, r.start + b.stop) for r, b in zip(region, foreground_box(foreground), strict=True)
    )
    inside = slices[..., rows, columns].contiguous(memory_format=torch.channels_last)
    if scale == 1:
        enlarged = slices.clone()
        enlarged[..., rows, columns] = network(inside)
        return enlarged
    enlarged = resize_cubic(slices, (scale * slices.shape[-2], scale * slices.shape[-1]), (1 / scale, 1 / scale))
    rim = scale * RIM
    wide = network(F.pad(inside, (RIM,) * 4, mode="replicate"))
    enlarged[..., _times(rows, scale), _times(columns, scale)] = wide[..., rim:-rim, rim:-rim]
    return enlarged


def _times(part: slice, scale: int) -> slice:
    return slice(scale * part.start, scale * part.stop)
