"""Super-resolving a volume: in-plane, then through-plane, then held to what was measured."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from acuity.errors import PreparationError
from acuity.imaging.blur import AxisBlur, estimate_blur
from acuity.imaging.consistency import degraded, pulled, supported_share
from acuity.imaging.denoising import denoise
from acuity.imaging.forward_model import SliceProfile, resize_cubic
from acuity.imaging.intensity import bright_end
from acuity.models.progress import Progress, share
from acuity.models.super_resolution_slices import FOREGROUND, foreground_box, run_slices, scale_of
from acuity.models.super_resolution_volume import run_volume, sees_volumes
from acuity.volume import Volume

INSIGNIFICANT = 1e-3  # relative difference of spacings that is no change of resolution

Denoising = Literal["before", "after"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SuperResolution:
    """The sharper volume, and how far it was from the measured one.

    Parameters
    ----------
    volume : float32, in the measured image's intensities, on its ``grid.with_spacing(spacing)``
    residual : the largest |degrade(sr) - measured| of any voxel, as the network made it and by the blur that was
        estimated, as a share of the intensity range, which is 0 to ``bright_end``
    residual_after : the same of the result
    blurs : what is known of the measured image's blur along i, j, k; None along an axis that keeps its spacing
    share : of what the network added to interpolation that the measured image supports, 0 to 1
    """

    volume: Volume
    residual: float
    residual_after: float
    blurs: tuple[AxisBlur | None, ...] = (None, None, None)
    share: float = 1.0

    def describe_blur(self) -> dict[str, Any]:
        """For ``result.json``: the share, and what is known of the blur along i, j, k."""
        return {
            "network_share": round(self.share, 3),
            "axes": [None if blur is None else blur.describe() for blur in self.blurs],
        }


def super_resolve(
    volume: Volume,
    network: nn.Module,
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    mask: Volume | None = None,
    progress: Progress | None = None,
    denoising: Denoising | None = None,
    fusion: bool = False,
    slice_profile: SliceProfile = "cubic",
) -> SuperResolution:
    """Super-resolve a volume to a spacing along its own axes.

    The network works on slices: first on those in the plane of finest spacing, then, in a plane across it, along the
    axis of the slices. Where two axes change, it works once, in their plane. A network of scale 1 restores slices
    that cubic interpolation brought to the target grid. A network of another scale enlarges slices, and cubic resizing
    brings them from there to the target. An axis that keeps its spacing is left as it is. A network for volumes
    restores all axes at once.

    Then the measured volume has its say. Its blur is estimated from itself (``acuity.imaging.blur``). Of what the
    network added to interpolation, the share stays that this blur supports. At the end the result is held to the
    measured volume, as far as noise and the doubt about the blur allow (``acuity.imaging.consistency``).

    Parameters
    ----------
    volume : magnitudes, at least 0 where there is signal
    network : (N, 1, H, W) to (N, 1, scale * H, scale * W), 0 to about 1, or one that ``sees_volumes``
        (``acuity.networks.volume_srresnet``); runs on the device of its parameters
    spacing : target in mm along i, j, k; not coarser than the volume's
    mask : uint8 on the same grid; the network works in its box, and the volume is interpolated outside. Default: the
        box of the foreground
    denoising : by non-local means, in the slices across the axis of coarsest spacing (the last of those). "before":
        the volume is denoised first, and the result degrades to the denoised volume. "after": the network's result is
        denoised before it is held to the measured volume with its noise
    fusion : work along the axis of the slices in both planes that hold it, and take the mean: one pass more. Without
        effect where that axis keeps its spacing, two axes change, or the network sees volumes
    slice_profile : what is known of the blur along the axis of coarsest spacing (the last of those). "box": it is a
        slice profile, as of 2D acquisitions, from a box to a Gaussian. "cubic": it may be any, like the other axes

    Raises
    ------
    PreparationError : a voxel is not finite, or no voxel is above 0
    ValueError : ``spacing`` is coarser than the volume's
    """
    target = volume.grid.with_spacing(spacing)
    ratios = tuple(float(r) for r in target.spacing / volume.spacing)
    if max(ratios) > 1 + INSIGNIFICANT:
        raise ValueError(f"spacing {spacing} is coarser than the volume's {tuple(volume.spacing)}")
    _require_finite(volume)
    _intensity_range(volume)  # refuses an image without signal before anything is computed from it
    slice_axis = max(range(3), key=lambda axis: (volume.spacing[axis], axis))
    if denoising == "before":
        volume = volume.with_array(_denoised(volume.array, slice_axis))
    scale = _intensity_range(volume)
    device = next(network.parameters()).device
    measured = torch.from_numpy(np.asarray(volume.array, dtype=np.float32) / scale).to(device)
    box = foreground_box(volume.array > FOREGROUND * scale if mask is None else mask.array > 0)

    with torch.inference_mode():
        interpolated = resize_cubic(measured, target.shape, ratios).clamp_min(0)
        if sees_volumes(network):
            fine = tuple(_on_target(b, r, n) for b, r, n in zip(box, ratios, target.shape, strict=True))
            part = share(progress, 0, 1)
            result = run_volume(interpolated, [1 / r for r in ratios], fine, network, part)
        else:
            result = _restore(measured, interpolated, ratios, box, network, fusion, progress)
        if denoising == "after":
            result = torch.from_numpy(_denoised(result.cpu().numpy(), slice_axis)).to(device)
        held = make_consistent(result, interpolated, measured, ratios, slice_axis if slice_profile == "box" else None)
    array = (held.volume * scale).cpu().numpy()
    return SuperResolution(volume.on_grid(array, target), held.residual, held.residual_after, held.blurs, held.share)


@dataclass(frozen=True)
class Consistent:
    """A volume that is held to what was measured; ``SuperResolution`` says what is beside it."""

    volume: Tensor
    residual: float
    residual_after: float
    blurs: tuple[AxisBlur | None, ...]
    share: float


def make_consistent(
    restored: Tensor,
    interpolated: Tensor,
    measured: Tensor,
    ratios: tuple[float, ...],
    profile_axis: int | None = None,
) -> Consistent:
    """Hold what a network made of a volume to the measured volume.

    Parameters
    ----------
    restored, interpolated : (I, J, K), by the network and by cubic interpolation
    measured : (i, j, k)
    ratios : spacing of ``restored`` over that of ``measured``, at most 1 along each axis
    profile_axis : see ``estimate_blur``
    """
    shape = tuple(measured.shape)
    blurs = estimate_blur(measured, restored, ratios, profile_axis=profile_axis)
    share = supported_share(restored, interpolated, measured, ratios, blurs)
    result = pulled(torch.lerp(interpolated, restored, share), measured, ratios, blurs)
    before, after = (
        float((degraded(volume, shape, ratios, blurs) - measured).abs().max()) for volume in (restored, result)
    )
    logger.debug("share %.3f; residual %.5f, then %.5f; %s", share, before, after, [b and b.likeliest for b in blurs])
    return Consistent(result, before, after, blurs, share)


def _restore(
    measured: Tensor,
    interpolated: Tensor,
    ratios: tuple[float, ...],
    box: tuple[slice, ...],
    network: nn.Module,
    fusion: bool,
    progress: Progress | None,
) -> Tensor:
    """The interpolated volume, and inside ``box`` of the measured grid what the network makes of the measured one."""
    result, shape = interpolated.clone(), tuple(interpolated.shape)
    stages = _stages(ratios, fusion)
    passes = sum(len(planes) for _, planes in stages)
    current, region, done = measured, list(box), 0
    for axes, planes in stages:
        size = tuple(shape[a] if a in axes else current.shape[a] for a in range(3))
        steps = tuple(ratios[a] if a in axes else 1.0 for a in range(3))
        target_region = [_on_target(region[a], ratios[a], shape[a]) if a in axes else region[a] for a in range(3)]
        if scale_of(network) == 1:
            current, steps, region = resize_cubic(current, size, steps).clamp_min(0), (1.0, 1.0, 1.0), target_region
        restored = []
        for plane in planes:
            part = share(progress, done / passes, (done + 1) / passes)
            restored.append(run_slices(current, plane, size, steps, network, tuple(region), part))
            done += 1
        current, region = sum(restored[1:], restored[0]) / len(restored), target_region
    where = tuple(_on_target(b, r, n) for b, r, n in zip(box, ratios, shape, strict=True))
    result[where] = current[where]
    return result


def _stages(ratios: tuple[float, ...], fusion: bool) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The stages of the work: the axes that each brings to the target, and the planes, named by the axis across."""
    changed = tuple(axis for axis in range(3) if ratios[axis] < 1 - INSIGNIFICANT)
    if not changed:
        return []
    if len(changed) == 2:
        return [(changed, tuple(axis for axis in range(3) if axis not in changed))]
    through = max(changed, key=lambda axis: (1 / ratios[axis], axis))
    in_plane = tuple(axis for axis in changed if axis != through)
    across = tuple(axis for axis in range(3) if axis != through)
    last = ((through,), across if fusion else across[:1])
    return [(in_plane, (through,)), last] if in_plane else [last]


def _on_target(part: slice, ratio: float, size: int) -> slice:
    """A part of a measured axis on the target's, at least as large."""
    return slice(int(np.floor(part.start / ratio)), min(size, int(np.ceil(part.stop / ratio))))


def _denoised(array: np.ndarray, slice_axis: int) -> np.ndarray:
    """Non-local means in the slices across an axis, with one noise level for all of them."""
    return np.moveaxis(denoise(np.moveaxis(np.maximum(array, 0), slice_axis, -1)), -1, slice_axis)


def _require_finite(volume: Volume) -> None:
    """Raise PreparationError where a voxel is NaN or infinite: cubic resizing would spread it."""
    count = int(np.count_nonzero(~np.isfinite(volume.array)))
    if count:
        raise PreparationError(
            f"{count} of the image's {volume.array.size} voxels hold no finite number.",
            rule="Super-resolution needs an image with a number in every voxel.",
            remedy="Check the series' pixel data, or choose another series.",
        )


def _intensity_range(volume: Volume) -> float:
    """The intensity that generators are trained to see as 1; PreparationError where there is no signal."""
    end = bright_end(volume.array)
    if end <= 0:
        raise PreparationError(
            f"The image's 99.9th percentile is {end:g}.",
            rule="Super-resolution needs an image with signal.",
            remedy="Check the series' pixel data, or choose another series.",
        )
    return end
