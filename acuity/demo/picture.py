"""The demo's overlay: input, super-resolved image and truth side by side, with the tumor's outlines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from acuity.anatomy import REGION_COLORS, REGION_NAMES, Region, Sequence, labels_to_regions
from acuity.dicom.reading.read import load_stack, read_study
from acuity.dicom.reading.read_seg import read_segmentation
from acuity.imaging.resampling import resample
from acuity.research.synthetic.phantom import Phantom
from acuity.volume import Volume

_ROWS = (Sequence.T1C, Sequence.FLAIR)
_MARGIN = 25  # voxels of healthy tissue round the tumor


def draw(study: Path, result: Path, phantom: Phantom, path: Path) -> None:
    """Write the overlay as a PNG file.

    All is shown on the phantom's grid, in the axial slice with most tumor: the input by its nearest voxels, so that
    they are seen as they are. The outlines of what was found lie on the super-resolved image, those of the truth on
    the truth.

    Parameters
    ----------
    study : the input
    result : the application's output folder
    phantom : the truth, whose axes i and j run to the patient's left and back
    path : the PNG file
    """
    grid = phantom.labels.grid
    true = labels_to_regions(phantom.labels.array)
    segmentation = read_segmentation(result / "seg" / "segmentation_sr.dcm")
    found = labels_to_regions(resample(segmentation, grid, interpolation="nearest").array)
    whole = (true | found)[list(Region).index(Region.WT)]
    k = int(whole.sum(axis=(0, 1)).argmax())
    box = _box(whole[:, :, k])
    inputs = _inputs(study, result)
    figure = Figure(figsize=(12, 8.8), facecolor="black", layout=ConstrainedLayoutEngine(h_pad=0.12))
    for row, sequence in zip(figure.subplots(len(_ROWS), 3), _ROWS, strict=True):
        sharp = _only_series(result / "series" / sequence.value)
        panels = (
            ("input", resample(inputs[sequence], grid, interpolation="nearest"), None),
            ("super-resolved, tumor as found", resample(sharp, grid), found),
            ("truth", phantom.volumes[sequence], true),
        )
        for axes, (title, image, regions) in zip(row, panels, strict=True):
            _show(axes, image.array[:, :, k][box], None if regions is None else regions[:, *box, k])
            axes.set_title(f"{sequence.value}: {title}", color="white", fontsize=11)
    lines = [Line2D([], [], color=_color(region), label=f"{region.value}  {REGION_NAMES[region]}") for region in Region]
    figure.legend(handles=lines, loc="outside lower center", ncols=3, labelcolor="white", frameon=False)
    FigureCanvasAgg(figure).print_png(path)


def _inputs(study: Path, result: Path) -> dict[Sequence, Volume]:
    """The series that the application chose."""
    selection = json.loads((result / "result.json").read_text(encoding="utf-8"))["selection"]
    by_uid = {series.series_uid: series for series in read_study(study).series}
    return {sequence: load_stack(by_uid[selection[sequence.value]["series_uid"]].stacks[0]) for sequence in _ROWS}


def _only_series(folder: Path) -> Volume:
    return load_stack(read_study(folder).series[0].stacks[0])


def _show(axes: Any, image: NDArray, regions: NDArray[np.bool_] | None) -> None:
    """A slice [i, j] in radiological convention, with outlines."""
    axes.imshow(image.T, cmap="gray", vmin=0, vmax=float(np.percentile(image, 99.5)), interpolation="nearest")
    axes.axis("off")
    if regions is None:
        return
    for region, width in ((Region.WT, 1.2), (Region.TC, 2.4), (Region.ET, 1.0)):  # ET lies on TC's outer border
        mask = regions[list(Region).index(region)]
        if mask.any():
            axes.contour(mask.T.astype(float), levels=[0.5], colors=[_color(region)], linewidths=width)


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The square round the mask's bounding box, with a margin, as far as the image reaches."""
    if not mask.any():
        return slice(None), slice(None)
    hits = np.argwhere(mask)
    center, half = (hits.min(axis=0) + hits.max(axis=0)) // 2, int(np.ptp(hits, axis=0).max()) // 2 + _MARGIN
    low, high = np.maximum(center - half, 0), center + half
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def _color(region: Region) -> tuple[float, float, float]:
    red, green, blue = (value / 255 for value in REGION_COLORS[region])
    return red, green, blue
