"""Holding a restored volume to what was measured, as far as noise and the doubt about the blur allow."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch
from torch import Tensor

from acuity.imaging.blur import AxisBlur
from acuity.imaging.forward_model import resize_axes, resize_matrix

ERROR = 0.03  # power of a network's error, in parts of the image's own at the same frequency
NOISE = 0.01  # power of noise in what was measured, in parts of that error's
UNSEEN = 0.002  # of the intensity range: what is added and changes measured voxels by less is left to the network

Blurs = Seq[AxisBlur | None]


def degraded(volume: Tensor, shape: tuple[int, ...], ratios: tuple[float, ...], blurs: Blurs) -> Tensor:
    """A fine volume (I, J, K) as it would be measured: the mean over what the blur may be.

    Parameters
    ----------
    shape : of what is measured
    ratios : spacing of ``volume`` over the measured one
    """
    matrices = [resize_matrix if blur is None else blur.matrix for blur in blurs]
    return resize_axes(volume, shape, tuple(1 / r for r in ratios), matrices)


def supported_share(
    restored: Tensor, interpolated: Tensor, measured: Tensor, ratios: tuple[float, ...], blurs: Blurs
) -> float:
    """The share of what a network added to interpolation by which the result fits the measured volume best, 0 to 1.

    A network that adds more than the blur can have taken (the blur is narrower than it believes, or what it sharpens
    is noise) gets a smaller share. What does not show in the measured volume is left to the network.
    """
    shape = tuple(measured.shape)
    added = degraded(restored - interpolated, shape, ratios, blurs)
    missing = measured - degraded(interpolated, shape, ratios, blurs)
    unseen = UNSEEN**2 * measured.numel()
    return min(1.0, max(0.0, float(((added * missing).sum() + unseen) / (added.square().sum() + unseen))))


def pulled(restored: Tensor, measured: Tensor, ratios: tuple[float, ...], blurs: Blurs) -> Tensor:
    """A restored volume, moved toward those that degrade to the measured one.

    It is the linear estimate of the least mean square error (Wiener's): along each axis the singular vectors of the
    mean blur part both volumes into components, and each component of the residual is put back as far as what it says
    outweighs noise (NOISE) and the variance of the blur.

    Parameters
    ----------
    restored : (I, J, K)
    measured : (i, j, k)
    ratios : spacing of ``restored`` over that of ``measured``
    blurs : along each axis; None where it keeps its spacing
    """
    axes = [
        _components(blur, fine, coarse, 1 / ratio).to(restored)
        for blur, fine, coarse, ratio in zip(blurs, restored.shape, measured.shape, ratios, strict=True)
    ]
    seen = _product([axis.gain for axis in axes])
    variance = _product([axis.second_moment for axis in axes]) - seen**2
    residual = _along(measured, [axis.measured.T for axis in axes]) - seen * _along(
        restored, [axis.fine for axis in axes]
    )
    weight = seen / (seen**2 + NOISE + variance.clamp_min(0) / ERROR)
    return (restored + _along(weight * residual, [axis.fine.T for axis in axes])).clamp_min_(0)


@dataclass(frozen=True)
class _Components:
    """Singular vectors of an axis.

    Parameters
    ----------
    fine : (n, N), rows of the fine axis
    measured : (n, n), columns of the measured axis
    gain, second_moment : (n,), mean over the possible blurs of what each component keeps, and of its square
    """

    fine: Tensor
    measured: Tensor
    gain: Tensor
    second_moment: Tensor

    def to(self, other: Tensor) -> _Components:
        """On another tensor's device."""
        return _Components(*(t.to(other) for t in (self.fine, self.measured, self.gain, self.second_moment)))


def _components(blur: AxisBlur | None, fine: int, measured: int, ratio: float) -> _Components:
    if blur is None:
        one = torch.ones(measured, dtype=torch.float64)
        return _Components(torch.eye(measured), torch.eye(measured), one, one)
    left, gain, right = torch.linalg.svd(blur.matrix(fine, measured, ratio).double(), full_matrices=False)
    squares = [
        p * torch.einsum("in,ij,nj->n", left, spread.matrix(fine, measured, ratio).double(), right) ** 2
        for p, spread in blur.members
    ]
    return _Components(right, left, gain, torch.stack(squares).sum(dim=0).maximum(gain**2))


def _along(volume: Tensor, matrices: Seq[Tensor]) -> Tensor:
    """A matrix along each axis, (n, N) on N samples."""
    for axis, matrix in enumerate(matrices):
        volume = torch.tensordot(matrix, volume, dims=([1], [axis])).movedim(0, axis)
    return volume


def _product(parts: Seq[Tensor]) -> Tensor:
    return parts[0][:, None, None] * parts[1][:, None] * parts[2]
