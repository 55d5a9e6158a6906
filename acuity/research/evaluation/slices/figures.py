"""Pictures of a comparison: perception against distortion, and enlarged parts of slices with their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from acuity.research.evaluation import columns as col
from acuity.research.evaluation.figures import ERROR_PERCENTILE, dark_figure, error_scale, save, show, white_level
from acuity.research.evaluation.slices.views import View

_COLUMNS = 6  # of enlarged parts
_CHARACTERS = 26  # of a line above one
_AXES_NAMES = {col.PERCEPTUAL: "perceptual distance (VGG16)", col.NIQE: "NIQE"}
_MARKERS = {
    "interpolation": ("s", "tab:gray"),
    "natural images": ("^", "tab:orange"),
    "weights": ("D", "tab:green"),
    "bundle": ("o", "tab:blue"),
}


def draw_perception_distortion(means: pd.DataFrame, sources: Mapping[str, str], truth_niqe: float, path: Path) -> None:
    """Write a PNG: error along x, unnaturalness along y, numbered methods; the lower left is best in both.

    Blau, Michaeli, "The Perception-Distortion Tradeoff", CVPR 2018.

    Parameters
    ----------
    means : of each method (the index) MSE, PERCEPTUAL and NIQE; NaN leaves a point out
    sources : each method's ``Method.source``
    truth_niqe : what the truth itself scores, a line; its perceptual distance is 0
    """
    metrics = [metric for metric in _AXES_NAMES if means[metric].notna().any()]
    count = max(1, len(metrics))
    figure = Figure(figsize=(1.5 + 5.0 * count + 2.5, 5.0), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=False):
        for number, (name, x, y) in enumerate(zip(means.index, np.sqrt(means[col.MSE]), means[metric], strict=True), 1):
            if not math.isnan(y):
                marker, color = _MARKERS[sources[name]]
                axes.plot(x, y, marker, color=color, markersize=7)
                axes.annotate(str(number), (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
        if metric == col.NIQE and not math.isnan(truth_niqe):
            axes.axhline(truth_niqe, color="black", linestyle="--", linewidth=1)
            place = {"xycoords": ("axes fraction", "data"), "xytext": (0, 3), "textcoords": "offset points"}
            axes.annotate("truth", (0.01, truth_niqe), fontsize=8, **place)
        axes.set_xlabel("RMSE (gray levels of 255)")
        axes.set_ylabel(_AXES_NAMES[metric])
        axes.margins(0.08)
        axes.grid(alpha=0.3)
    handles = []
    for number, name in enumerate(means.index, 1):
        marker, color = _MARKERS[sources[name]]
        handles += panels[0].plot([], [], marker, color=color, label=f"{number}  {name}")
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=8)
    save(figure, path)


def draw_panels(view: View, results: Mapping[str, NDArray[np.float32]], psnr: Mapping[str, float], path: Path) -> None:
    """Write a PNG: the whole slice, and each method's part of it above the map of its errors.

    All parts have one gray scale, all maps another.

    Parameters
    ----------
    results : of each method the slice (H, W), 0 to 1
    psnr : of each method for the whole slice, in dB
    """
    truth = np.clip(view.item.image, 0, 1)
    aspect = view.item.spacing[0] / view.item.spacing[1]
    errors = {name: np.abs(result - truth)[view.box] for name, result in results.items()}
    limit = max(float(np.percentile(np.stack(list(errors.values())), ERROR_PERCENTILE)), 1e-3)
    bright = white_level(truth)
    tiles = 1 + len(results)  # the truth is the first
    columns = min(_COLUMNS, tiles)
    rows = -(-tiles // columns)
    figure = dark_figure(3.6 + 1.75 * columns, max(3.9, 0.5 + 3.75 * rows))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[3.6, 1.75 * columns], facecolor="black")[0]
    whole = left.subplots()
    show(whole, truth, "gray", bright, aspect, f"truth, {view.item.sequence or 'slice'} {view.item.index}")
    down, across = view.box
    corner, size = (across.start - 0.5, down.start - 0.5), (across.stop - across.start, down.stop - down.start)
    whole.add_patch(Rectangle(corner, *size, fill=False, edgecolor="yellow", linewidth=1.2))
    grid = right.subplots(2 * rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    show(grid[0, 0], truth[view.box], "gray", bright, aspect, "truth")
    drawn: Any = None
    for n, (name, result) in enumerate(results.items(), 1):
        row, column = divmod(n, columns)
        title = f"{fill(name, _CHARACTERS)}\n{psnr[name]:.2f} dB"
        show(grid[2 * row, column], result[view.box], "gray", bright, aspect, title)
        drawn = show(grid[2 * row + 1, column], errors[name], "magma", limit, aspect, "")
    # The tile below the truth has no error to show.
    error_scale(right, drawn, grid[1, 0], f"{limit:.2g}")
    save(figure, path)
