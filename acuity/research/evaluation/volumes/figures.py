"""Pictures of restored volumes: an axial and a coronal slice through the tumor, with error maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from acuity.imaging.overview import PLANES
from acuity.research.evaluation.slices.figures import ERROR_PERCENTILE, error_scale, show
from acuity.volume import Volume

_SHOWN = [plane for plane in PLANES if plane.name in ("Axial", "Coronal")]
_MARGIN = 4  # pixels around the brain

Slices = Mapping[str, NDArray[np.float32]]


def tumor_slices(volume: Volume, labels: Volume | None) -> dict[str, NDArray[np.float32]]:
    """The "Axial" and the "Coronal" slice with most tumor, as a radiologist looks at them; else the middle ones.

    Parameters
    ----------
    labels : on the volume's grid, tumor above 0; None where nothing is known

    Returns
    -------
    (rows, columns) each: the axes are those next to the patient's, no voxel is resampled
    """
    image = _turned(volume)
    tumor = None if labels is None else _turned(labels) > 0
    found = {}
    for plane in _SHOWN:
        index = image.shape[plane.axis] // 2
        if tumor is not None and tumor.any():
            index = int(tumor.sum(axis=tuple(a for a in range(3) if a != plane.axis)).argmax())
        found[plane.name] = np.ascontiguousarray(plane.cut(image, index), dtype=np.float32)
    return found


def pixel_aspects(volume: Volume) -> dict[str, float]:
    """Of each plane of ``tumor_slices`` a pixel's height by its width."""
    spacing = sitk.DICOMOrient(volume.to_sitk(), "LPS").GetSpacing()
    return {plane.name: float(spacing[plane.rows] / spacing[plane.columns]) for plane in _SHOWN}


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
    width = 2.2 * (1 + len(results))
    figure = Figure(figsize=(width, 0.9 + 2 * 2.2 * sum(heights)), facecolor="black")
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    figure.suptitle(title, color="white", fontsize=9)
    grid = figure.subplots(
        2 * len(truth), 1 + len(results), squeeze=False, height_ratios=[height for height in heights for _ in range(2)]
    )
    for axes in grid.flat:
        axes.set_axis_off()
    drawn: Any = None
    for row, (name, whole) in enumerate(truth.items()):
        image = whole[boxes[name]]
        bright = float(np.percentile(image[image > 0], 99.5)) if (image > 0).any() else 1.0
        show(grid[2 * row, 0], image, "gray", bright, aspects[name], "truth" if row == 0 else "")
        for column, (method, slices) in enumerate(results.items(), 1):
            caption = f"{method}\n{captions[method]}" if row == 0 else ""
            show(grid[2 * row, column], slices[name][boxes[name]], "gray", bright, aspects[name], caption)
            drawn = show(grid[2 * row + 1, column], errors[method][name], "magma", limit, aspects[name], "")
    # The tile below the truth has no error to show.
    error_scale(figure, drawn, grid[1, 0], f"{limit:.3g}")
    FigureCanvasAgg(figure).print_png(path)


def _turned(volume: Volume) -> NDArray:
    """The array with its axes along the patient's left, back and head."""
    return volume.from_sitk(sitk.DICOMOrient(volume.to_sitk(), "LPS")).array


def brain_part(image: NDArray) -> tuple[slice, slice]:
    """Rows and columns with signal, and a margin."""
    box = []
    for axis in range(2):
        hits = np.flatnonzero((image > 0).any(axis=1 - axis))
        start, stop = (int(hits[0]), int(hits[-1]) + 1) if hits.size else (0, image.shape[axis])
        box.append(slice(max(0, start - _MARGIN), stop + _MARGIN))
    return box[0], box[1]
