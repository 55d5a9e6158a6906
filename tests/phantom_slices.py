"""Slices with edges and texture, made here."""

from __future__ import annotations

import numpy as np

from acuity.research.datasets.slice_sets import ImageSlice


def phantom_slices(count: int = 3, size: int = 48) -> list[ImageSlice]:
    """Discs of several grays with a little noise."""
    rows, columns = np.mgrid[:size, :size] - size / 2
    slices = []
    for n in range(count):
        rng = np.random.default_rng(n)
        image = np.zeros((size, size), np.float32)
        for radius in (0.48, 0.4, 0.25, 0.1):
            shift = rng.uniform(-3, 3, 2)
            image[np.hypot(rows - shift[0], columns - shift[1]) < radius * size] = rng.uniform(0.2, 0.9)
        image += (image > 0) * rng.normal(0, 0.03, image.shape).astype(np.float32)
        slices.append(ImageSlice(np.clip(image, 0, 1), f"case{n}", "T1", n, (1.0, 1.0)))
    return slices
