"""Bringing MR intensities, which have no unit, to one scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acuity.errors import PreparationError
from acuity.volume import Volume

LIMIT = 5.0  # of z-scores, so that a few very bright vessels do not matter


def bright_end(image: NDArray, q: float = 99.9) -> float:
    """The upper end of an image's intensity range: the ``q``-th percentile of what is above 0.

    Returns
    -------
    0 where nothing is above 0
    """
    signal = image[image > 0]
    return float(np.percentile(signal, q)) if signal.size else 0.0


def zscore(volume: Volume, mask: Volume, *, limit: float = LIMIT) -> Volume:
    """Zero mean and unit standard deviation over the brain; 0 outside.

    Parameters
    ----------
    volume : float image
    mask : uint8 or bool on the same grid, non-zero inside the brain
    limit : the result is clipped to [-limit, limit]

    Returns
    -------
    Volume
        float32

    Raises
    ------
    PreparationError
        When the mask is empty, or the image is constant or not finite inside it.
    ValueError
        When the grids differ.
    """
    if not volume.grid.same_as(mask.grid):
        raise ValueError(f"the mask's grid {mask.shape} is not the image's grid {volume.shape}")
    inside = mask.array > 0
    values = volume.array[inside].astype(np.float64)
    if values.size == 0:
        raise PreparationError(
            "The brain mask is empty.",
            rule="Intensities are normalized over the brain.",
            remedy="Check that the images show a brain.",
        )
    deviation = float(values.std())
    if not np.isfinite(deviation) or deviation <= 1e-6 * max(1.0, float(np.abs(values).max())):
        raise PreparationError(
            f"The image has standard deviation {deviation:g} inside the brain.",
            rule="An image that is constant or not finite has no contrast to normalize.",
            remedy="Check the series' pixel data, or choose another series.",
        )
    result = np.zeros(volume.shape, dtype=np.float32)
    result[inside] = np.clip((values - values.mean()) / deviation, -limit, limit)
    return volume.with_array(result)
