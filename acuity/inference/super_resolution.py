"""Super-resolving a volume: in-plane, then through-plane, then made consistent with what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from acuity.degradations.functional import resize_cubic
from acuity.errors import PreparationError
from acuity.inference.bundle import Bundle
from acuity.volume import Volume

BATCH_PIXELS = 200_000  # pixels of a batch of slices: about 0.6 GiB of activations
FOREGROUND = 0.05  # of the bright end; darker is background and is interpolated only
CONTEXT = 8  # voxels kept around the foreground, about the generator's receptive field
CONSISTENCY_STEPS = 5  # back-projections; the residual has fallen below 0.5% by then
INSIGNIFICANT = 1e-3  # relative difference of spacings that is no change of resolution

Progress = Callable[[float], None]


@dataclass(frozen=True)
class SuperResolution:
    """The sharper volume, and how far it was from the measured one.

    Parameters
    ----------
    volume : float32, in the measured image's intensities, on its ``grid.with_spacing(spacing)``
    residual : |degrade(sr) - measured| / |measured| over the volume (L2 norms) before the projection onto the
        measured data; what is left after it is ``residual_after``
    """

    volume: Volume
    residual: float
    residual_after: float


def super_resolve(
    volume: Volume,
    bundle: Bundle,
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    mask: Volume | None = None,
    progress: Progress | None = None,
) -> SuperResolution:
    """Super-resolve a volume to a spacing along its own axes.

    The generator restores slices that cubic interpolation brought to the target grid: first those in the plane of
    finest spacing, then, in planes across it, the axis of the slices. An axis that keeps its spacing is left as
    it is. Back-projection then makes antialiased cubic shrinking of the result give the measured volume again.

    Parameters
    ----------
    volume : magnitudes, at least 0 where there is signal
    spacing : target in mm along i, j, k; not coarser than the volume's
    mask : the generator works in the box of this mask (uint8, the same grid); default: the box of the foreground.
        Outside it the volume is interpolated.

    Raises
    ------
    PreparationError : where the volume is constant or not finite
    ValueError : where ``spacing`` is coarser than the volume's
    """
    target = volume.grid.with_spacing(spacing)
    ratios = target.spacing / volume.spacing
    if (ratios > 1 + INSIGNIFICANT).any():
        raise ValueError(f"spacing {spacing} is coarser than the volume's {tuple(volume.spacing)}")
    scale = _bright_end(volume)
    measured = torch.from_numpy(np.asarray(volume.array, dtype=np.float32) / scale).to(bundle.device)
    box = _box(volume.array > FOREGROUND * scale if mask is None else mask.array > 0)

    with torch.inference_mode():
        interpolated = resize_cubic(measured, target.shape, tuple(ratios)).clamp_min_(0)
        inside, where = _restore(measured, interpolated, box, ratios, bundle.network, progress or (lambda _: None))
        result = interpolated
        result[where] = inside
        result, before, after = make_consistent(result, measured, tuple(ratios))
    array = (result * scale).cpu().numpy()
    return SuperResolution(volume.on_grid(array, target), before, after)


def make_consistent(
    result: Tensor, measured: Tensor, ratios: tuple[float, ...], steps: int = CONSISTENCY_STEPS
) -> tuple[Tensor, float, float]:
    """Project ``result`` (I, J, K) onto the volumes that degrade to ``measured``, by iterated back-projection.

    Irani, Peleg, "Improving resolution by image registration", CVGIP 53(3), 1991. Degrading is antialiased cubic
    shrinking, projecting back cubic interpolation.

    Returns
    -------
    The volume, and its relative residual before and after.
    """
    down = tuple(1.0 / r for r in ratios)
    norm = max(float(measured.norm()), 1e-12)
    residuals = []
    for step in range(steps + 1):
        difference = measured - resize_cubic(result, tuple(measured.shape), down)
        residuals.append(float(difference.norm()) / norm)
        if step < steps:
            result = (result + resize_cubic(difference, tuple(result.shape), ratios)).clamp_min(0)
    return result, residuals[0], residuals[-1]


def _restore(
    measured: Tensor,
    interpolated: Tensor,
    box: tuple[slice, ...],
    ratios: np.ndarray,
    network: nn.Module,
    progress: Progress,
) -> tuple[Tensor, tuple[slice, ...]]:
    """Run the generator inside ``box`` of the measured grid; the result and where it lies on the target grid."""
    where = tuple(
        slice(int(np.floor(b.start / r)), min(n, int(np.ceil(b.stop / r))))
        for b, r, n in zip(box, ratios, interpolated.shape, strict=True)
    )
    changed = [axis for axis in range(3) if ratios[axis] < 1 - INSIGNIFICANT]
    if not changed:
        return interpolated[where], where
    through = max(range(3), key=lambda axis: (1 / ratios[axis], axis))
    in_plane = [axis for axis in changed if axis != through]
    stages = [(through,)] if not in_plane else [tuple(in_plane), (through,)]

    current, done_ratios = measured, [1.0, 1.0, 1.0]
    for number, axes in enumerate(stages):
        for axis in axes:
            done_ratios[axis] = float(ratios[axis])
        # From the measured data and the last stage's result to this stage's grid, cubic along the stage's axes only.
        size = tuple(
            interpolated.shape[axis] if axis in axes else current.shape[axis] for axis in range(3)
        )
        steps = tuple(float(ratios[axis]) if axis in axes else 1.0 for axis in range(3))
        current = resize_cubic(current, size, steps).clamp_min(0)
        region = tuple(w if done_ratios[a] != 1.0 else box[a] for a, w in enumerate(where))
        # Across the slices, the planes along the first axis: averaging both orthogonal ones costs twice the time.
        plane = through if axes != (through,) else min(axis for axis in range(3) if axis != through)
        restored = _run_slices(current[region], plane, network, _part(progress, number, len(stages)))
        current = current.clone()
        current[region] = restored
    return current[where], where


def _part(progress: Progress, stage: int, stages: int) -> Progress:
    """Progress of one pass over the slices as a share of the whole."""
    return lambda done: progress((stage + done) / stages)


def _run_slices(block: Tensor, axis: int, network: nn.Module, progress: Progress) -> Tensor:
    """Run the network over the slices of (I, J, K) across ``axis``, in batches, each in the box of its foreground."""
    slices = torch.movedim(block, axis, 0)[:, None]
    batch = max(1, BATCH_PIXELS // (slices.shape[-2] * slices.shape[-1]))
    result = slices.clone()
    for start in range(0, len(slices), batch):
        part = slices[start : start + batch]
        foreground = (part > FOREGROUND).any(dim=0)[0].cpu().numpy()
        if foreground.any():
            rows, columns = _box(foreground)
            inside = part[..., rows, columns].contiguous(memory_format=torch.channels_last)
            result[start : start + batch, :, rows, columns] = network(inside)
        progress(min(1.0, (start + batch) / len(slices)))
    return torch.movedim(result[:, 0], 0, axis)


def _bright_end(volume: Volume) -> float:
    """The 99.9th percentile of the positive voxels: the intensity that the generator was trained to see as 1."""
    positive = volume.array[volume.array > 0]
    end = float(np.percentile(positive, 99.9)) if positive.size else 0.0
    if not np.isfinite(end) or end <= 0:
        raise PreparationError(
            f"The image's 99.9th percentile is {end:g}.",
            rule="Super-resolution needs an image with signal.",
            remedy="Check the series' pixel data, or choose another series.",
        )
    return end


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The box of ``mask`` with CONTEXT voxels around it; everything where the mask is empty."""
    box = []
    for axis, size in enumerate(mask.shape):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        start, stop = (int(hits[0]), int(hits[-1]) + 1) if hits.size else (0, size)
        box.append(slice(max(0, start - CONTEXT), min(size, stop + CONTEXT)))
    return tuple(box)
