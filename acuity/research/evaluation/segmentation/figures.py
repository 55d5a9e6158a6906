"""Pictures of segmentations: Dice by model and input, outlines on slices, and reliability of the probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from acuity.anatomy import REGION_COLORS, Region, Sequence, labels_to_regions
from acuity.models.calibration import Reliability
from acuity.research.evaluation import columns as col
from acuity.research.evaluation.figures import brain_part, dark_figure, save, show, white_level
from acuity.research.evaluation.segmentation.table import MEAN, case_values
from acuity.research.evaluation.statistics import paired_difference

# Which sequences are shown, and the regions that each shows best.
PICTURED = {Sequence.T1C: (Region.TC, Region.ET), Sequence.FLAIR: (Region.WT,)}

_TRUTH = "white"
_TILE = 1.8  # inches


@dataclass(frozen=True)
class Outlined:
    """A slice on which a prediction is drawn.

    Parameters
    ----------
    slices : (rows, columns) of each sequence of PICTURED by its name, and the labels "truth" and "preds"
    dsc : of the whole case
    """

    slices: Mapping[str, NDArray[np.float32]]
    dsc: Mapping[Region, float]


def draw_outlines(title: str, views: Mapping[str, Mapping[str, Outlined]], aspect: float, path: Path) -> None:
    """Write a PNG like the thesis's Figure 13: a column for each model, T1c above FLAIR for each kind of input.

    The outline of the truth is white, dashed; those of what was found have the colors of ET, TC and WT. A sequence
    has one gray scale on all inputs: the first one's.

    Parameters
    ----------
    views : by input and model, all of one case
    aspect : a pixel's height by its width
    """
    models = list(next(iter(views.values())))
    first = next(iter(next(iter(views.values())).values())).slices
    box = brain_part(np.max([first[sequence.value] for sequence in PICTURED], axis=0))
    bright = {sequence: white_level(first[sequence.value][box]) for sequence in PICTURED}
    rows, columns = first["truth"][box].shape
    height = _TILE * max(0.3, rows / columns * aspect)
    count = len(PICTURED) * len(views)
    figure = dark_figure(0.4 + _TILE * len(models), 0.7 + (height + 0.2) * count, title)
    grid = iter(figure.subplots(count, len(models), squeeze=False))
    for kind, by_model in views.items():
        for sequence, regions in PICTURED.items():
            for axes, (model, view) in zip(next(grid), by_model.items(), strict=True):
                image = view.slices[sequence.value][box]
                scores = ", ".join(f"{region} {view.dsc[region]:.2f}" for region in regions)
                show(axes, image, "gray", bright[sequence], aspect, f"{model}\n{kind}, {sequence}: {scores}")
                axes.title.set_fontsize(6)
                _outline(axes, view.slices["truth"][box], regions, dashed=True)
                _outline(axes, view.slices["preds"][box], regions, dashed=False)
    save(figure, path)


def draw_means(scores: pd.DataFrame, path: Path) -> None:
    """Write a PNG: mean Dice (BraTS's rule) of each model on each input with its 95 % interval, by region.

    Parameters
    ----------
    scores : as ``segmentation.csv`` has them
    """
    groups = dict(list(scores.groupby([col.MODEL, col.INPUT], sort=False)))
    models, kinds = (list(scores[column].unique()) for column in (col.MODEL, col.INPUT))
    figure = Figure(figsize=(2.5 + 4 * max(2.0, 0.45 * len(kinds) + 0.8), 4.2), layout="constrained")
    panels = figure.subplots(1, 4, sharey=True)
    for axes, region in zip(panels, (MEAN, *Region), strict=True):
        for number, model in enumerate(models):
            offset = 0.6 * ((number + 0.5) / len(models) - 0.5)
            places = [place for place, kind in enumerate(kinds) if (model, kind) in groups]
            found = [
                paired_difference(case_values(groups[model, kinds[place]], col.DSC, "brats", region))
                for place in places
            ]
            # One case has no interval.
            reach = [
                [0.0 if math.isnan(mean.low) else abs(end - mean.mean) for end in (mean.low, mean.high)]
                for mean in found
            ]
            axes.errorbar(
                [place + offset for place in places],
                [mean.mean for mean in found],
                np.transpose(reach),
                fmt="o",
                color=f"C{number % 10}",
                markersize=5,
                capsize=2,
                label=model,
            )
        axes.set_title(str(region))
        axes.set_xticks(range(len(kinds)), kinds, rotation=40, ha="right", fontsize=7)
        axes.set_xlim(-0.5, len(kinds) - 0.5)
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("Dice")
    panels[0].set_ylim(0, 1.02)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=7)
    save(figure, path)


def draw_reliability(found: Mapping[tuple[str, str], Mapping[Region, Reliability]], path: Path) -> None:
    """Write a PNG: how often a voxel lies in a region against the probability it was given; a row for each input.

    Parameters
    ----------
    found : by model and input, as ``table.pooled`` gives it
    """
    models, kinds = (list(dict.fromkeys(key[n] for key in found)) for n in range(2))
    figure = Figure(figsize=(9.5, 0.6 + 2.6 * len(kinds)), layout="constrained")
    grid = figure.subplots(len(kinds), len(Region), squeeze=False, sharex=True, sharey=True)
    for (model, kind), regions in found.items():
        for axes, region in zip(grid[kinds.index(kind)], Region, strict=True):
            bins = regions[region]
            some = bins.voxels > 0
            axes.plot(
                bins.probabilities[some] / bins.voxels[some],
                bins.positives[some] / bins.voxels[some],
                "o-",
                color=f"C{models.index(model) % 10}",
                markersize=3,
                linewidth=1,
                label=model,
            )
    for row, kind in zip(grid, kinds, strict=True):
        row[0].set_ylabel(f"{kind}\npart in the region", fontsize=8)
        for axes in row:
            axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
            axes.set(xlim=(0, 1), ylim=(0, 1))
    for top, bottom, region in zip(grid[0], grid[-1], Region, strict=True):
        top.set_title(region.value)
        bottom.set_xlabel("probability", fontsize=8)
    lines = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
    figure.legend([lines[model] for model in models], models, loc="outside right center", frameon=False, fontsize=7)
    save(figure, path)


def _outline(axes: Any, labels: NDArray[np.float32], regions: Seq[Region], *, dashed: bool) -> None:
    masks = labels_to_regions(np.rint(labels).astype(np.uint8))
    for region in regions:
        mask = masks[list(Region).index(region)]
        # matplotlib warns of a level that is nowhere crossed.
        if mask.any() and not mask.all():
            color = _TRUTH if dashed else tuple(part / 255 for part in REGION_COLORS[region])
            axes.contour(mask, levels=[0.5], colors=[color], linewidths=0.9, linestyles="dashed" if dashed else "solid")
