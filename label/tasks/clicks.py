"""Clicks and scribbles, as viewers send them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acuity.errors import DataError
from acuity.imaging.refinement import Clicks
from acuity.volume import Grid, Volume
from label.tasks.masks import LABEL_INFO, LABELS

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
    values = {str(info["name"]): int(info["idx"]) for info in LABEL_INFO}
    lists = {value: request.get(name) or [] for name, value in values.items()}
    if request.get("foreground"):
        name = request.get("label_name", request.get("label"))
        if name not in LABELS:
            raise DataError(
                "Clicks of the foreground come without the name of a known label.",
                rule=f"It is one of {', '.join(LABELS)}.",
                remedy="Send it as label.",
            )
        lists[LABELS[str(name)]] = [*_list(lists[LABELS[str(name)]]), *_list(request["foreground"])]
    clicks = [(_point(point, grid), value) for value, points in lists.items() for point in _list(points)]
    if len(clicks) > MOST:
        raise DataError(
            f"{len(clicks)} clicks were sent.",
            rule=f"{MOST} are the most.",
            remedy="Draw scribbles, or correct the mask with the brush.",
        )
    return tuple(clicks)


def scribbled(drawn: Volume) -> Clicks:
    """Scribbles as clicks: each voxel of a label map (uint8 of 0, 1, 2 and 4) that is not 0."""
    return tuple((_index(index), int(drawn.array[_index(index)])) for index in np.argwhere(drawn.array))


def _list(points: Any) -> list[Any]:
    if not isinstance(points, list):
        raise DataError("Clicks are no list.", rule="They are a list of points i, j, k.", remedy="Send them so.")
    return points


def _point(point: Any, grid: Grid) -> tuple[int, int, int]:
    try:
        i, j, k = (round(float(number)) for number in point)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError("A click is no point.", rule="It is three numbers i, j, k.", remedy="Send it so.") from error
    if not all(0 <= n < size for n, size in zip((i, j, k), grid.shape, strict=True)):
        raise DataError(
            f"A click lies at voxel {i}, {j}, {k}.",
            rule=f"The series has {'x'.join(map(str, grid.shape))} voxels.",
            remedy="Click inside the series that is open.",
        )
    return i, j, k


def _index(index: NDArray[np.int_]) -> tuple[int, int, int]:
    return int(index[0]), int(index[1]), int(index[2])
