"""Clicks and scribbles, as viewers send them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from acuity.errors import DataError
from acuity.imaging.refinement import Click, Clicks
from acuity.volume import Grid, Volume
from label.masks import LABEL_INFO, LABELS
from label.request import checked

MOST = 500  # clicks of a request


def read_clicks(request: Mapping[str, Any], grid: Grid) -> Clicks:
    """The clicks of a request, each with the label that the annotator wants there.

    Two forms are understood: lists of points by the name of their label ("background" too), as 3D Slicer sends them to
    models of the kind DeepEdit; and "foreground" and "background" beside the name of one "label". Points are voxel
    indices i, j, k of the opened series.

    Parameters
    ----------
    grid : of the opened series

    Raises
    ------
    DataError : a point outside the grid or not of three numbers, a label that is unknown, too many points
    """
    clicks: list[Click] = []
    for info in LABEL_INFO:
        clicks += _clicks(request, str(info["name"]), int(info["idx"]), grid)
    if request.get("foreground"):
        name = request.get("label_name", request.get("label"))
        if name not in LABELS:
            raise DataError(
                "Clicks of the foreground come without the name of a known label.",
                rule=f"It is one of {', '.join(LABELS)}.",
                remedy="Send it as label.",
            )
        clicks += _clicks(request, "foreground", LABELS[str(name)], grid)
    if len(clicks) > MOST:
        raise DataError(
            f"{len(clicks)} clicks were sent.",
            rule=f"{MOST} are the most.",
            remedy="Draw scribbles, or correct the mask with the brush.",
        )
    return tuple(clicks)


def scribbled(drawn: Volume) -> Clicks:
    """Scribbles as clicks: each voxel of a label map (uint8 of 0, 1, 2 and 4) that is not 0."""
    return tuple(((i, j, k), int(drawn.array[i, j, k])) for i, j, k in np.argwhere(drawn.array).tolist())


def _clicks(request: Mapping[str, Any], name: str, value: int, grid: Grid) -> list[Click]:
    clicks: list[Click] = []
    for point in checked(list[tuple[float, float, float]], request.get(name) or [], f"clicks of {name}"):
        if not all(-0.5 <= n < size - 0.5 for n, size in zip(point, grid.shape, strict=True)):
            raise DataError(
                f"A click lies at voxel {', '.join(f'{n:g}' for n in point)}.",
                rule=f"The series has {'x'.join(map(str, grid.shape))} voxels.",
                remedy="Click inside the series that is open.",
            )
        i, j, k = (round(n) for n in point)
        clicks.append(((i, j, k), value))
    return clicks
