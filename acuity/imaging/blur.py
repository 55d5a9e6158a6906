"""Which blur a volume was measured with, as its own spectrum tells, with the doubt that remains.

Lines through an image cross edges, and edges have a spectrum that falls with the square of the frequency. In 96
spectra of T1, T1c, T2 and FLAIR at 1 mm, along all three axes, the deviation from that was 1 dB at 0.2 cycles per mm,
relative to 0.1. So the way in which a measured spectrum falls faster tells what the scanner's blur left of it.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acuity.imaging.forward_model import resize_axes
from acuity.imaging.point_spread import PointSpread

_FILTERED = [PointSpread(kind, width) for kind in ("hann", "hamming", "fermi") for width in (1.0, 1.2, 1.4)]
_GAUSSIANS = [PointSpread("gaussian", round(width, 1)) for width in np.arange(0.4, 1.65, 0.1)]
_BOXES = [PointSpread("box", width) for width in (0.8, 0.9, 1.0, 1.1)]
_ENCODED = [*(PointSpread("kspace", width) for width in (1.0, 1.15, 1.3, 1.45)), *_FILTERED, PointSpread("cubic")]
FAMILY: tuple[PointSpread, ...] = (*_ENCODED, *_BOXES, *_GAUSSIANS)
PROFILES = {*_BOXES, *_GAUSSIANS}  # what slices of a 2D acquisition can have across them

_BAND = (0.08, 0.49)  # cycles per sample: frequencies that are compared
_LOW = 0.2  # cycles per sample: frequencies below set the level
_SLOPE = 1.2  # dB per octave: standard deviation of an image's slope from that of edges
_SCATTER, _REACH = 1.5, 0.02  # dB, cycles per sample: deviations that neighboring frequencies share
_FLOOR = 0.06  # of the edges' spectrum: noise, leakage and lost signs, which hide what is weaker
_MISFIT = 4.0  # squared deviations of the best member above this are doubt, and weaken all evidence
_RESIDUAL = 4.0  # weight of the residual of the network's own result, in parts of its smallest
_FIT = 0.01  # of the intensity range: smaller residuals say nothing
_SHARED = 0.5  # probability that all axes of one image have the same blur in samples
_TOGETHER = 0.5  # weight of evidence that axes have in common, because they show the same anatomy
_FEWEST = 4  # frequencies; with fewer nothing is known


@dataclass(frozen=True)
class AxisBlur:
    """What is known of the blur along one axis.

    Parameters
    ----------
    probabilities : of each member of FAMILY
    """

    probabilities: NDArray[np.float64]

    @property
    def likeliest(self) -> PointSpread:
        """The member of the highest probability."""
        return FAMILY[int(self.probabilities.argmax())]

    @property
    def members(self) -> list[tuple[float, PointSpread]]:
        """Those that matter, with probabilities that sum to 1."""
        kept = [(float(p), spread) for p, spread in zip(self.probabilities, FAMILY, strict=True) if p > 1e-3]
        total = sum(p for p, _ in kept)
        return [(p / total, spread) for p, spread in kept]

    def full_width(self) -> tuple[float, float]:
        """Mean and standard deviation of the full width at half maximum, in measured voxels."""
        widths = np.array([spread.full_width() for spread in FAMILY])
        mean = float(self.probabilities @ widths)
        return mean, float(np.sqrt(self.probabilities @ (widths - mean) ** 2))

    def describe(self) -> dict[str, Any]:
        """For ``result.json``."""
        width, deviation = self.full_width()
        return {
            "likeliest": str(self.likeliest),
            "probability": round(float(self.probabilities.max()), 2),
            "full_width_voxels": round(width, 2),
            "full_width_deviation": round(deviation, 2),
        }

    def matrix(self, size_in: int, size_out: int, ratio: float) -> Tensor:
        """The mean of the members' matrices, see ``PointSpread.matrix``."""
        return torch.stack([p * spread.matrix(size_in, size_out, ratio) for p, spread in self.members]).sum(dim=0)


def estimate_blur(
    measured: Tensor, restored: Tensor, ratios: tuple[float, ...], *, profile_axis: int | None = None
) -> tuple[AxisBlur | None, ...]:
    """The blur along each axis of a volume, from its spectrum and from how well a restored volume fits.

    Parameters
    ----------
    measured : (I, J, K), 0 to about 1
    restored : a guess of the fine volume
    ratios : spacing of ``restored`` over that of ``measured``
    profile_axis : the axis, if any, along which 2D slices were excited one by one: only slice profiles are possible

    Returns
    -------
    None along axes whose ratio is 1
    """
    axes = [axis for axis in range(3) if ratios[axis] < 1 - 1e-3]
    residuals = _residuals(measured, restored, ratios, axes)
    evidence, priors = {}, {}
    for axis in axes:
        misfit = _misfit(measured.cpu().numpy(), axis, 1 / ratios[axis])
        misfit = misfit / max(1.0, misfit.min() / _MISFIT) + _RESIDUAL * residuals[axis]
        evidence[axis] = np.exp(-0.5 * (misfit - misfit.min()))
        priors[axis] = _prior(axis == profile_axis)
    found = _combined(evidence, priors)
    return tuple(AxisBlur(found[axis]) if axis in found else None for axis in range(3))


def _prior(profiles_only: bool) -> NDArray[np.float64]:
    """Each kind is as likely; among its widths the nominal one is the likeliest."""
    weights = {"kspace": 1.0, "hann": 0.5, "hamming": 0.5, "fermi": 0.5, "cubic": 1.0, "box": 0.3, "gaussian": 0.3}
    zero_filled = {"kspace": 0.15, "hann": 0.1, "hamming": 0.1, "fermi": 0.1}
    prior = [
        zero_filled.get(spread.kind, weights[spread.kind]) if spread.width != 1 else weights[spread.kind]
        for spread in FAMILY
    ]
    if profiles_only:
        prior = [p if spread in PROFILES else 0.0 for p, spread in zip(prior, FAMILY, strict=True)]
    return np.array(prior) / sum(prior)


def _combined(
    evidence: dict[int, NDArray[np.float64]], priors: dict[int, NDArray[np.float64]]
) -> dict[int, NDArray[np.float64]]:
    """Probabilities along each axis: the mean of those with one blur for all axes and with a blur for each."""
    alone = {axis: priors[axis] * found for axis, found in evidence.items()}
    result = {axis: weights / weights.sum() for axis, weights in alone.items()}
    if len(evidence) < 2:
        return result
    all_axes = np.prod([prior ** (1 / len(priors)) for prior in priors.values()], axis=0)
    together = all_axes * np.prod([found**_TOGETHER for found in evidence.values()], axis=0)
    apart = np.prod([weights.sum() for weights in alone.values()]) ** _TOGETHER
    share = _SHARED * together.sum() / (_SHARED * together.sum() + (1 - _SHARED) * apart)
    return {axis: share * together / together.sum() + (1 - share) * own for axis, own in result.items()}


def _misfit(measured: NDArray[np.float32], axis: int, ratio: float) -> NDArray[np.float64]:
    """Squared deviations of the spectrum along an axis from what each member predicts."""
    frequencies, power = _spectrum(measured, axis)
    inside = (frequencies >= _BAND[0]) & (frequencies <= _BAND[1])
    f = frequencies[inside]
    if len(f) < _FEWEST or not power[inside].all():
        return np.zeros(len(FAMILY))
    octaves = np.log2(f / f[0])
    covariance = (
        1e4  # the level is not known
        + _SLOPE**2 * np.outer(octaves, octaves)
        + _SCATTER**2 * np.exp(-np.abs(f[:, None] - f) / _REACH)
        + 0.1 * np.eye(len(f))
    )
    inverse = np.linalg.inv(covariance)
    edges = _FLOOR * f**-2
    result = []
    for spread in FAMILY:
        expected = _expected(spread, ratio, measured.shape[axis])[inside]
        low = f <= max(_LOW, f[1])
        level = np.exp(np.mean(np.log(power[inside][low] / expected[low])))
        deviation = 10 * np.log10((power[inside] / level + edges) / (expected + edges))
        result.append(deviation @ inverse @ deviation)
    return np.array(result)


def _spectrum(measured: NDArray[np.float32], axis: int) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Frequencies in cycles per sample, and the mean power of all lines along an axis."""
    lines = np.moveaxis(measured, axis, -1)
    window = np.hanning(lines.shape[-1] + 2)[1:-1].astype(np.float32)
    spectrum = np.fft.rfft(lines * window, axis=-1)
    return np.fft.rfftfreq(lines.shape[-1]), (np.abs(spectrum) ** 2).mean(axis=(0, 1), dtype=np.float64)


@lru_cache(maxsize=512)
def _expected(spread: PointSpread, ratio: float, size: int) -> NDArray[np.float64]:
    """The power of edges that are blurred and sampled, frequencies folded by sampling included."""
    f = np.fft.rfftfreq(size)
    f[0] = 0.5 / size
    power = np.zeros(len(f))
    for folded in (f, 1 - f, 1 + f, 2 - f, 2 + f, 3 - f):
        power += np.where(folded <= ratio / 2 + 1e-6, (spread.transfer(folded) / folded) ** 2, 0)
    wide = np.pad(power, 1, mode="reflect")
    return (wide[:-2] + 4 * wide[1:-1] + wide[2:]) / 6  # what the window does


def _residuals(
    measured: Tensor, restored: Tensor, ratios: tuple[float, ...], axes: Seq[int]
) -> dict[int, NDArray[np.float64]]:
    """Mean squared residual of each member along each axis, in parts of the smallest; a box along the other axes."""
    down = [1 / ratio for ratio in ratios]
    found = {}
    for axis in axes:
        size = [restored.shape[a] if a == axis else measured.shape[a] for a in range(3)]
        steps = tuple(1.0 if a == axis else down[a] for a in range(3))
        lines = resize_axes(restored, tuple(size), steps, [PointSpread("box").matrix] * 3).movedim(axis, 0)
        goal = measured.movedim(axis, 0)
        errors = []
        for spread in FAMILY:
            matrix = spread.matrix(restored.shape[axis], measured.shape[axis], down[axis]).to(restored)
            errors.append(float((torch.tensordot(matrix, lines, dims=1) - goal).square().mean()))
        smallest = max(min(errors), _FIT**2)
        found[axis] = np.array(errors) / smallest
    return found
