"""How scanners blur along one axis: point spread functions, and the matrices that sample with them.

Along an axis that is encoded in k-space, a scanner keeps the middle frequencies and may filter them: the point spread
function is a sinc, or a smoother one (Bernstein, King, Zhou, "Handbook of MRI Pulse Sequences", 2004, section 13.1).
Across 2D slices, it is the profile of the excitation, between a box and a Gaussian (the same, section 8.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acuity.imaging.forward_model import cubic_kernel

Frequencies = NDArray[np.floating]
Kind = Literal["cubic", "box", "profile", "gaussian", "kspace", "hann", "hamming", "fermi"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SLOPES = 0.2  # of a slice profile's width: the full width at half maximum of what smooths its edges
FERMI_RADIUS, FERMI_WIDTH = 0.8, 0.05  # of the highest frequency: where the Fermi filter is 1/2, and its transition
_SIGMA = 1 / math.sqrt(8 * math.log(2))  # standard deviation of a Gaussian of full width 1 at half maximum
_PAD = 24  # samples repeated at both ends for kernels that are not periodic
_FILTERS: dict[str, Callable[[Frequencies], Frequencies]] = {
    "kspace": np.ones_like,
    "hann": lambda u: 0.5 + 0.5 * np.cos(np.pi * u),
    "hamming": lambda u: 0.54 + 0.46 * np.cos(np.pi * u),
    "fermi": lambda u: 1 / (1 + np.exp((np.abs(u) - FERMI_RADIUS) / FERMI_WIDTH)),
}


@dataclass(frozen=True)
class PointSpread:
    """A point spread function along one axis.

    Parameters
    ----------
    kind : "kspace", "hann", "hamming", "fermi": the middle of k-space, bare or with that filter. "box" and "gaussian":
        slice profiles; "profile": a box with smooth edges. "cubic": Keys' kernel, as antialiased shrinking has it
    width : in sampling distances. Of "box", "profile" and "gaussian" the full width at half maximum: below 1 there are
        gaps between slices, above 1 they overlap. Of the k-space kinds, the measured voxel: above 1, zero filling has
        made the image's voxels smaller. Of "cubic", the stretch of the kernel
    """

    kind: Kind
    width: float = 1.0

    def __str__(self) -> str:
        """In words."""
        return self.kind if self.width == 1 else f"{self.kind} {self.width:.2f}"

    def transfer(self, frequencies: Frequencies) -> Frequencies:
        """What remains of each frequency, given in cycles per sampling distance."""
        f = frequencies * self.width
        match self.kind:
            case "box":
                return np.sinc(f)
            case "gaussian":
                return _gaussian(f)
            case "profile":
                return np.sinc(f) * _gaussian(SLOPES * f)
            case "cubic":
                return _cubic_transfer(f)
            case _:
                return _band(2 * f, _FILTERS[self.kind])

    def full_width(self) -> float:
        """The full width at half maximum in sampling distances."""
        return self.width * _full_width(self.kind)

    def matrix(self, size_in: int, size_out: int, ratio: float) -> Tensor:
        """The float32 (size_out, size_in) matrix that samples an axis.

        Parameters
        ----------
        ratio : distance of output samples over that of input samples, at least 1. The outer faces of the first samples
            coincide, so output n sits at input (n + 0.5) * ratio - 0.5

        Rows sum to 1. The k-space kinds see the axis as periodic, as a scanner's Fourier transform does; for the others
        the end samples repeat.
        """
        with torch.inference_mode(False):  # kept for later calls, which may want gradients through it
            return torch.from_numpy(_matrix(self, size_in, size_out, float(ratio)))


@lru_cache(maxsize=512)
def _matrix(spread: PointSpread, size_in: int, size_out: int, ratio: float) -> NDArray[np.float32]:
    centers = (np.arange(size_out) + 0.5) * ratio - 0.5
    width = spread.width * ratio
    match spread.kind:
        case "box":
            weights = _folded(_overlaps(centers, width, size_in))
        case "cubic":
            taps = np.arange(-_PAD, size_in + _PAD)
            weights = _folded(cubic_kernel((taps - centers[:, None]) / max(width, 1.0)))
        case "gaussian" | "profile":
            weights = _folded(_from_transfer(centers + _PAD, size_in + 2 * _PAD, spread, ratio))
        case _:
            weights = _from_transfer(centers, size_in, spread, ratio)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _overlaps(centers: Frequencies, width: float, size: int) -> NDArray[np.floating]:
    """How much of each input sample, _PAD repeated ones at both ends included, a window round each center covers."""
    faces = np.arange(-_PAD, size + _PAD + 1.0) - 0.5
    starts = centers[:, None] - width / 2
    return np.maximum(np.minimum(faces[1:], starts + width) - np.maximum(faces[:-1], starts), 0)


def _folded(weights: NDArray[np.floating]) -> NDArray[np.floating]:
    """Weights of an axis with _PAD repeated samples at both ends, as weights of the axis itself."""
    inner = weights[:, _PAD:-_PAD].copy()
    inner[:, 0] += weights[:, :_PAD].sum(axis=1)
    inner[:, -1] += weights[:, -_PAD:].sum(axis=1)
    return inner


def _from_transfer(centers: Frequencies, size: int, spread: PointSpread, ratio: float) -> NDArray[np.floating]:
    """Weights of the kernel round each center, from what it leaves of each frequency."""
    f = np.fft.rfftfreq(size)
    return np.fft.irfft(spread.transfer(f * ratio) * np.exp(-2j * np.pi * f * centers[:, None]), n=size, axis=1)


def _gaussian(f: Frequencies) -> Frequencies:
    return np.exp(-2 * (np.pi * _SIGMA * f) ** 2)


def _cubic_transfer(f: Frequencies) -> Frequencies:
    """The Fourier transform of Keys' kernel, by the sum over fine steps."""
    x = np.linspace(-2, 2, 201)
    kernel = cubic_kernel(x)
    return (kernel * np.cos(2 * np.pi * f[..., None] * x)).sum(axis=-1) / kernel.sum()


def _band(u: Frequencies, chosen: Callable[[Frequencies], Frequencies]) -> Frequencies:
    """The filter up to the highest measured frequency (u = 1), 0 above; a frequency on the limit counts half."""
    inside = np.where(np.abs(u) < 1 - 1e-9, 1.0, np.where(np.abs(u) <= 1 + 1e-9, 0.5, 0.0))
    return inside * chosen(np.minimum(np.abs(u), 1.0))


@lru_cache
def _full_width(kind: Kind) -> float:
    if kind in ("box", "gaussian", "profile"):
        return 1.0
    f = np.linspace(0, 2, 401)
    x = np.linspace(0, 2, 401)
    kernel = np.cos(2 * np.pi * f * x[:, None]) @ PointSpread(kind).transfer(f)
    return 2 * float(x[np.argmax(kernel < kernel[0] / 2)])
