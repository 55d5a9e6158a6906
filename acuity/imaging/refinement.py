"""Correcting tumor labels by an annotator's clicks and scribbles: evidence that fades with geodesic distance.

Geodesic distances follow Wang et al., "DeepIGeoS", IEEE TPAMI 41(7), 2019, without its second network. A path costs
its length, and more where the image differs from the marked voxels.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.graph import MCP_Geometric

from acuity.anatomy import Label

Click = tuple[tuple[int, int, int], int]  # voxel i, j, k, and its true label
Clicks = tuple[Click, ...]

# Chosen by simulated clicks on validation cases.
EVIDENCE = 8.0  # nats that a mark adds to its label at its voxels
FADING_MM = 15.0  # of geodesic distance, over which the evidence falls to 1/e
REACH_MM = 25.0  # a mark changes nothing beyond, so that a distant part never changes unseen
EDGE_WEIGHT = 1.0  # of the squared difference of z-scores in the cost of a path
NETWORK_DOUBT = 1e-3  # least probability of any label where a network gave probabilities
MASK_DOUBT = 1e-2  # the same where only a mask is known
_LEAST = 0.05  # nats; weaker evidence counts as none
_VALUES = np.array([int(label) for label in Label])


def refined(
    labels: NDArray[np.uint8],
    image: NDArray[np.float32],
    clicks: Seq[Click],
    *,
    spacing: Seq[float],
    probabilities: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """Labels (I, J, K) of 0, 1, 2 and 4 that agree with all clicks, and follow the image around them.

    The result depends on the labels and the set of clicks alone: a click that is taken back leaves no trace.

    Parameters
    ----------
    labels : (I, J, K) of 0, 1, 2 and 4, before the correction
    image : (C, I, J, K), z-scored
    clicks : neighboring voxels of one label are one mark, a scribble
    spacing : of the voxels in mm
    probabilities : (3, I, J, K) of ET, TC and WT from a network; None where only the labels are known
    """
    evidence = np.zeros((len(_VALUES), *labels.shape), dtype=np.float32)
    for voxels, value in _marks(labels.shape, clicks):
        window, distance = _geodesic(image, voxels, spacing)
        found = evidence[list(_VALUES).index(value)][window]
        np.maximum(found, EVIDENCE * np.exp(-distance / FADING_MM), out=found)
    changed = evidence.max(axis=0) > _LEAST
    prior = _log_prior(labels, probabilities)
    result = labels.copy()
    result[changed] = _VALUES[(prior[:, changed] + evidence[:, changed]).argmax(axis=0)]
    for voxel, value in clicks:
        result[voxel] = value
    return result


def _marks(shape: Seq[int], clicks: Seq[Click]) -> list[tuple[NDArray[np.int_], int]]:
    """Clicks of one label that touch one another, as (N, 3) voxels, and their label."""
    marks = []
    for value in sorted({value for _, value in clicks}):
        drawn = np.zeros(tuple(shape), dtype=bool)
        for voxel, own in clicks:
            drawn[voxel] |= own == value
        parts, _ = ndimage.label(drawn, structure=np.ones((3, 3, 3)))
        for number, box in enumerate(ndimage.find_objects(parts), start=1):
            voxels = np.argwhere(parts[box] == number) + [s.start for s in box]
            marks.append((voxels, value))
    return marks


def _geodesic(
    image: NDArray[np.floating], voxels: NDArray[np.int_], spacing: Seq[float]
) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    """A window around a mark, and there the geodesic distance to it in mm; infinite beyond the reach."""
    reach = np.ceil(REACH_MM / np.asarray(spacing)).astype(int)
    low = np.maximum(voxels.min(axis=0) - reach, 0)
    high = np.minimum(voxels.max(axis=0) + reach + 1, image.shape[1:])
    window = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    near = image[(slice(None), *window)]
    marked = image[(slice(None), *voxels.T)].mean(axis=1)
    cost = 1 + EDGE_WEIGHT * np.square(near - marked[:, None, None, None]).sum(axis=0)
    paths = MCP_Geometric(cost, sampling=tuple(float(s) for s in spacing))
    distance, _ = paths.find_costs([tuple(int(n) for n in voxel) for voxel in voxels - low])
    outline = np.ones(distance.shape, dtype=bool)
    outline[tuple((voxels - low).T)] = False
    straight = ndimage.distance_transform_edt(outline, sampling=spacing)
    return window, np.where(straight <= REACH_MM, distance, np.inf)


def _log_prior(labels: NDArray[np.uint8], probabilities: NDArray[np.floating] | None) -> NDArray[np.float32]:
    """(4, I, J, K), logarithms of the labels' probabilities before any click."""
    if probabilities is None:
        least = MASK_DOUBT
        belief = np.stack([labels == value for value in _VALUES]).astype(np.float32)
    else:
        least = NETWORK_DOUBT
        enhancing = probabilities[0]
        core = np.maximum(probabilities[1], enhancing)
        whole = np.maximum(probabilities[2], core)
        belief = np.stack([1 - whole, core - enhancing, whole - core, enhancing])
    return np.log(np.clip(belief, least, 1.0)).astype(np.float32)
