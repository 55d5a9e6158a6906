"""How a scanner may have acquired a volume: its grid, its blur along each axis, skipped lines of k-space, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acuity.imaging.forward_model import resize_axes
from acuity.imaging.point_spread import PointSpread
from acuity.research.degradations.kspace import partial_fourier
from acuity.research.degradations.noise import rician_noise

Triple = tuple[float, float, float]

LARGEST_NOISE = 0.03  # standard deviation, of the bright end


@dataclass(frozen=True)
class Acquisition:
    """A low-resolution acquisition of a fine volume.

    Parameters
    ----------
    ratios : measured spacing over fine spacing along each axis, at least 1
    spreads : blur along each axis; without effect where the ratio is 1
    skipped : the axis, if any, and the part of its k-space that was measured (partial Fourier)
    noise : standard deviation of Rician noise where there is signal, in parts of the range 0 to 1
    """

    ratios: Triple
    spreads: tuple[PointSpread, PointSpread, PointSpread]
    skipped: tuple[int, float] | None = None
    noise: float = 0.0

    def __call__(self, volume: Tensor, seed: int = 0) -> Tensor:
        """A fine volume (I, J, K), at least 0, to what is measured; the outer faces of the first voxels coincide."""
        size = tuple(max(1, math.floor(n / r + 1e-6)) for n, r in zip(volume.shape, self.ratios, strict=True))
        low = resize_axes(volume, size, self.ratios, [spread.matrix for spread in self.spreads]).abs()
        if self.skipped is not None:
            axis, fraction = self.skipped
            low = partial_fourier(low.movedim(axis, -1), fraction, -1).movedim(-1, axis)
        if self.noise:
            low = torch.where(low > 0.01, rician_noise(low, self.noise, seed), low)
        return low


def draw_acquisition(rng: np.random.Generator) -> Acquisition:
    """Draw one from the family that super-resolution is trained for.

    Half have 2 times the spacing along all axes. A third have thick slices, 2.5 to 6 times as thick as the pixels are
    wide; the rest have other grids. Each has a blur in the plane and one across it, often the same for isotropic grids.
    """
    kind = rng.random()
    if kind < 0.5:
        ratios = [2.0, 2.0, 2.0]
    elif kind < 0.83:
        thick = float(rng.integers(3, 7)) if rng.random() < 0.6 else float(rng.uniform(2.5, 6))
        in_plane = 1.0 if rng.random() < 0.75 else float(rng.uniform(1.2, 2))
        ratios = [in_plane, in_plane, thick]
    else:
        ratios = [[2.0, 2.0, 1.0], [1.0, 1.0, 2.0], [4.0, 4.0, 1.0], [4.0] * 3, list(rng.uniform(1.2, 3, 3))][
            int(rng.integers(5))
        ]
    in_plane_spread = _draw_encoded(rng)
    across = ratios[2] > 2.2 or rng.random() < 0.3
    through = _draw_profile(rng) if across else in_plane_spread
    spreads = (in_plane_spread, in_plane_spread if rng.random() < 0.8 else _draw_encoded(rng), through)
    skipped = (int(rng.integers(2)), float(rng.uniform(0.625, 0.875))) if rng.random() < 0.08 else None
    noise = LARGEST_NOISE * 10 ** float(rng.uniform(-1.2, 0)) if rng.random() < 0.35 else 0.0
    return Acquisition((float(ratios[0]), float(ratios[1]), float(ratios[2])), spreads, skipped, noise)


def _draw_encoded(rng: np.random.Generator) -> PointSpread:
    """A blur in the plane, or along any axis of a 3D acquisition."""
    kind = rng.random()
    if kind < 0.4:
        name = str(rng.choice(["kspace", "hann", "hamming", "fermi"], p=[0.4, 0.2, 0.2, 0.2]))
        width = 1.0 if rng.random() < 0.8 else float(rng.uniform(1.05, 1.5))
        return PointSpread(name, width)  # type: ignore[arg-type]  # drawn from the kinds
    if kind < 0.55:
        return PointSpread("cubic")
    return _draw_profile(rng)


def _draw_profile(rng: np.random.Generator) -> PointSpread:
    """A slice profile."""
    kind = rng.random()
    if kind < 0.4:
        return PointSpread("box", 1.0 if rng.random() < 0.5 else float(rng.uniform(0.75, 1.15)))
    if kind < 0.5:
        return PointSpread("profile", float(rng.uniform(0.75, 1.15)))
    if kind < 0.9:
        return PointSpread("gaussian", float(rng.uniform(0.5, 1.4)))
    return PointSpread("cubic")
