"""Pictures of a comparison: perception against distortion, and enlarged parts of slices with their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from acuity.research.evaluation.slices.views import View

_COLUMNS = 6  # of enlarged parts
_CHARACTERS = 26  # of a line above one
ERROR_PERCENTILE = 99.0  # of all methods' errors: white; a few outliers would darken every map
_MARKERS = {
    "interpolation": ("s", "tab:gray"),
    "natural images": ("^", "tab:orange"),
    "weights": ("D", "tab:green"),
    "bundle": ("o", "tab:blue"),
}


def draw_perception_distortion(
    points: Mapping[str, Mapping[str, float]], sources: Mapping[str, str], truth_niqe: float, path: Path
) -> None:
    """Write a PNG: error along x, unnaturalness along y, numbered methods; the lower left is best in both.

    Blau, Michaeli, "The Perception-Distortion Tradeoff", CVPR 2018.

    Parameters
    ----------
    points : of each method "rmse" in gray levels, "perceptual" and "niqe"; NaN leaves a point out
    sources : each method's ``Method.source``
    truth_niqe : what the truth itself scores, a line; its perceptual distance is 0
    """
    axes_names = {"perceptual": "perceptual distance (VGG16)", "niqe": "NIQE"}
    shown = [key for key in axes_names if any(not math.isnan(p[key]) for p in points.values())]
    figure = Figure(figsize=(1.5 + 5.0 * max(1, len(shown)) + 2.5, 5.0), layout="constrained")
    panels = figure.subplots(1, max(1, len(shown)), squeeze=False)[0]
    for axes, key in zip(panels, shown, strict=False):
        for number, (name, point) in enumerate(points.items(), 1):
            if not math.isnan(point[key]):
                _point(axes, point["rmse"], point[key], number, sources[name])
        if key == "niqe" and not math.isnan(truth_niqe):
            axes.axhline(truth_niqe, color="black", linestyle="--", linewidth=1)
            axes.annotate(
                "truth",
                (0.01, truth_niqe),
                xycoords=("axes fraction", "data"),
                xytext=(0, 3),
                textcoords="offset points",
                fontsize=8,
            )
        axes.set_xlabel("RMSE (gray levels of 255)")
        axes.set_ylabel(axes_names[key])
        axes.margins(0.08)
        axes.grid(alpha=0.3)
    handles = []
    for number, name in enumerate(points, 1):
        marker, color = _MARKERS[sources[name]]
        (handle,) = panels[0].plot([], [], marker, color=color, label=f"{number}  {name}")
        handles.append(handle)
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=8)
    FigureCanvasAgg(figure).print_png(path)


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
    bright = float(np.percentile(truth[truth > 0], 99.5)) if (truth > 0).any() else 1.0
    tiles = 1 + len(results)  # the truth is the first
    columns = min(_COLUMNS, tiles)
    rows = -(-tiles // columns)
    figure = Figure(figsize=(3.6 + 1.75 * columns, max(3.9, 0.5 + 3.75 * rows)), facecolor="black")
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[3.6, 1.75 * columns], facecolor="black")[0]
    whole = left.subplots()
    show(whole, truth, "gray", bright, aspect, f"truth, {view.item.sequence or 'slice'} {view.item.index}")
    rectangle = Rectangle(
        (view.box[1].start - 0.5, view.box[0].start - 0.5),
        view.box[1].stop - view.box[1].start,
        view.box[0].stop - view.box[0].start,
        fill=False,
        edgecolor="yellow",
        linewidth=1.2,
    )
    whole.add_patch(rectangle)
    grid = right.subplots(2 * rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    show(grid[0, 0], truth[view.box], "gray", bright, aspect, "truth")
    drawn = None
    for n, (name, result) in enumerate(results.items(), 1):
        row, column = divmod(n, columns)
        title = f"{fill(name, _CHARACTERS)}\n{psnr[name]:.2f} dB"
        show(grid[2 * row, column], result[view.box], "gray", bright, aspect, title)
        drawn = show(grid[2 * row + 1, column], errors[name], "magma", limit, aspect, "")
    # The tile below the truth has no error to show.
    error_scale(right, drawn, grid[1, 0], f"{limit:.2g}")
    FigureCanvasAgg(figure).print_png(path)


def _point(axes: Any, x: float, y: float, number: int, source: str) -> None:
    marker, color = _MARKERS[source]
    axes.plot(x, y, marker, color=color, markersize=7)
    axes.annotate(str(number), (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)


def show(axes: Any, image: NDArray, colors: str, limit: float, aspect: float, title: str) -> Any:
    """Draw an image (H, W), 0 to ``limit``, without axes; what a color bar is made from."""
    axes.set_axis_off()
    axes.set_title(title, color="white", fontsize=8)
    return axes.imshow(image, cmap=colors, vmin=0, vmax=limit, aspect=aspect, interpolation="nearest")


def error_scale(figure: Any, drawn: Any, axes: Any, limit: str) -> None:
    """The color bar of the maps of errors, from 0 to ``limit``, in the place of a tile that shows nothing."""
    bar = figure.colorbar(drawn, ax=axes, location="bottom", fraction=0.12, pad=-0.5)
    bar.set_label("absolute error", color="white", fontsize=8)
    bar.set_ticks([0, drawn.norm.vmax])
    bar.set_ticklabels(["0", limit], color="white", fontsize=8)
