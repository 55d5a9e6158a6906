"""What is known of tumours beforehand, applied to masks of ET, TC and WT."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acuity.anatomy import Region

SMALLEST_PART = 0.1  # of the largest part's volume; lone smaller parts are mostly false (validation cases)

_TC, _WT = list(Region).index(Region.TC), list(Region).index(Region.WT)


def tidied(regions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is released of (3, I, J, K), ET, TC, WT: without small lone parts, the core without holes."""
    return with_enclosed_core(without_small_parts(regions))


def without_small_parts(regions: NDArray[np.bool_], smallest: float = SMALLEST_PART) -> NDArray[np.bool_]:
    """Leave out of (3, I, J, K), ET, TC, WT, what lies in connected parts of the tumour below ``smallest``.

    smallest : of the volume of the largest part
    """
    parts, count = ndimage.label(regions.any(axis=0))
    if count < 2:
        return regions
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return regions & (sizes >= smallest * sizes.max())[parts]


def with_enclosed_core(regions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Count to the core of (3, I, J, K), ET, TC, WT, what it encloses in a plane of any of the three axes.

    Edema lies round the core, so that what a ring of core encloses is necrotic, however like edema it looks.
    """
    core = regions[_TC]
    if not core.any():
        return regions
    filled = np.zeros_like(core)
    neighbours = ndimage.generate_binary_structure(3, 1)
    for axis in range(3):
        # Those in the plane alone, so that each plane is filled for itself.
        filled |= ndimage.binary_fill_holes(core, structure=neighbours.take([1], axis=axis))
    result = regions.copy()
    result[_TC] = filled
    result[_WT] |= filled
    return result
