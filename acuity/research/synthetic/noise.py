"""Seeded noise that does not depend on the voxel size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class SmoothNoise:
    """Draws Gaussian random fields over one box, given in mm.

    Random values lie on a lattice that is fixed to the box; a Gaussian interpolates them. So the same seed gives the
    same field on a fine grid and on a coarse one, and a coarse phantom in a test shows the same tumor as a fine one.

    Parameters
    ----------
    rng : is advanced by every call
    extent_mm : (3,) size of the box
    positions_mm : for each axis, the positions of the voxels' centers within the box
    """

    def __init__(
        self, rng: np.random.Generator, extent_mm: NDArray[np.float64], positions_mm: list[NDArray[np.float64]]
    ) -> None:
        self._rng = rng
        self._extent = extent_mm
        self._positions = positions_mm

    def __call__(self, scale_mm: float) -> NDArray[np.float32]:
        """A field (I, J, K), float32, mean about 0 and variance about 1, correlated over ``scale_mm``."""
        counts = [int(np.ceil(extent / scale_mm)) + 5 for extent in self._extent]
        field = self._rng.standard_normal(counts).astype(np.float32)
        for axis, (positions, count) in enumerate(zip(self._positions, counts, strict=True)):
            distance = positions[:, None] / scale_mm - (np.arange(count)[None] - 2.0)
            weights = np.exp(-0.5 * (distance / 0.6) ** 2)
            weights /= np.linalg.norm(weights, axis=1, keepdims=True)
            field = np.moveaxis(np.tensordot(weights.astype(np.float32), field, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(field)
