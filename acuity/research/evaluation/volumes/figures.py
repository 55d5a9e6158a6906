"""Pictures of restored volumes: an axial and a coronal slice through the tumor, with error maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acuity.research.evaluation.figures import (
    ERROR_PERCENTILE,
    brain_part,
    dark_figure,
    error_scale,
    save,
    show,
    white_level,
)

Slices = Mapping[str, NDArray[np.float32]]


def draw_volumes(
    title: str,
    truth: Slices,
    results: Mapping[str, Slices],
    captions: Mapping[str, str],
    aspects: Mapping[str, float],
    path: Path,
) -> None:
    """Write a PNG: truth and results side by side, each plane's slice above the map of its errors.

    Each plane has one gray scale; all maps have one scale of errors.

    Parameters
    ----------
    truth, results : by plane, as ``tumor_slices`` gives them, in any one intensity scale
    captions : a line under the name of each result
    """
    boxes = {name: brain_part(image) for name, image in truth.items()}
    errors = {
        method: {name: np.abs(image - truth[name])[boxes[name]] for name, image in slices.items()}
        for method, slices in results.items()
    }
    pooled = np.concatenate([image.ravel() for slices in errors.values() for image in slices.values()])
    limit = float(np.percentile(pooled, ERROR_PERCENTILE)) or 1.0  # all maps black where there is no error
    shapes = [truth[name][boxes[name]].shape for name in truth]
    heights = [rows / columns * aspects[name] for name, (rows, columns) in zip(truth, shapes, strict=True)]
    columns = 1 + len(results)
    figure = dark_figure(2.2 * columns, 0.9 + 2 * 2.2 * sum(heights), title)
    ratios = [height for height in heights for _ in range(2)]
    grid = figure.subplots(2 * len(truth), columns, squeeze=False, height_ratios=ratios)
    for axes in grid.flat:
        axes.set_axis_off()
    drawn: Any = None
    for row, (name, whole) in enumerate(truth.items()):
        image = whole[boxes[name]]
        bright = white_level(image)
        show(grid[2 * row, 0], image, "gray", bright, aspects[name], "truth" if row == 0 else "")
        for column, (method, slices) in enumerate(results.items(), 1):
            caption = f"{method}\n{captions[method]}" if row == 0 else ""
            show(grid[2 * row, column], slices[name][boxes[name]], "gray", bright, aspects[name], caption)
            drawn = show(grid[2 * row + 1, column], errors[method][name], "magma", limit, aspects[name], "")
    # The tile below the truth has no error to show.
    error_scale(figure, drawn, grid[1, 0], f"{limit:.3g}")
    save(figure, path)
