"""What the evaluations' pictures share: slices through the tumor, dark panels, and maps of errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from acuity.imaging.intensity import bright_end
from acuity.imaging.overview import PLANES
from acuity.imaging.regions import mask_box
from acuity.volume import Volume

ERROR_PERCENTILE = 99.0  # of all methods' errors: white; a few outliers would darken every map

_SHOWN = [plane for plane in PLANES if plane.name in ("Axial", "Coronal")]
_MARGIN = 4  # pixels around the brain


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


def brain_part(image: NDArray) -> tuple[slice, ...]:
    """Rows and columns with signal, and a margin."""
    box = mask_box(image > 0) or tuple(slice(0, n) for n in image.shape)
    return tuple(slice(max(0, part.start - _MARGIN), part.stop + _MARGIN) for part in box)


def white_level(image: NDArray) -> float:
    """The intensity that is shown white; 1 where the image is empty."""
    return bright_end(image, 99.5) or 1.0


def dark_figure(width: float, height: float, title: str | None = None) -> Figure:
    """A black figure of so many inches, for images close together."""
    figure = Figure(figsize=(width, height), facecolor="black")
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    if title is not None:
        figure.suptitle(title, color="white", fontsize=9)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG."""
    FigureCanvasAgg(figure).print_png(path)


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


def _turned(volume: Volume) -> NDArray:
    """The array with its axes along the patient's left, back and head."""
    return volume.from_sitk(sitk.DICOMOrient(volume.to_sitk(), "LPS")).array
