"""What a brain looks like in an MR image: the measures by which T1, T2 and FLAIR differ, whatever their unit.

T1 shows fluid darkest and deep white matter brighter than the cortex; T2 shows fluid brightest; FLAIR shows fluid dark
and white matter no brighter than the cortex. The measures say so without a registration: white matter lies deep in the
brain, the cortex and the fluid of the sulci at its edge, and the ventricles round its center.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from acuity.anatomy import Sequence
from acuity.resources import config_file
from acuity.volume import Volume

CLASSES = (Sequence.T1, Sequence.T2, Sequence.FLAIR)  # T1 with or without a contrast agent: a pair tells these apart
# The probability below which an image contradicts what it is taken for. On patients that the model was not fitted to,
# this is wrong for 1 of 258 images (62 BraTS cases; 3 studies in scanner space), a low-grade glioma's FLAIR. It notices
# the exchange of T1 and T2 in 65 of 65 cases, of T1 and FLAIR in 44, of T2 and FLAIR in 49.
CONTRADICTED = 0.02

_COARSE_MM = 4.0  # tissues show at that, and finer voxels take time
_PERCENTILES = (2, 10, 25, 75, 90, 98)
_DEPTHS_MM = (0.0, 3.0, 6.0, 10.0, 16.0, 24.0, 100.0)
_CENTER_MM = 35.0
_CENTRAL_PERCENTILES = (5, 50, 95)
_ENOUGH = 1000  # coarse voxels of the brain
# Span of the brain's inside over its median; 0.30 or more in 97 real images, 0.06 in a ball with noise and a lesion.
_INSIDE_MM = 6.0
_TISSUES = 0.15

MEASURES = (
    *(f"percentile {q} of the brain" for q in _PERCENTILES),
    *(f"median {low:g} to {high:g} mm deep" for low, high in zip(_DEPTHS_MM[:-1], _DEPTHS_MM[1:], strict=True)),
    *(f"percentile {q} within {_CENTER_MM:g} mm of the center" for q in _CENTRAL_PERCENTILES),
)


Verdict = Literal["agrees", "undecided", "contradicts"]


@dataclass(frozen=True)
class Opinion:
    """What the pixels of a series say of the sequence that it was chosen for; ``reason`` is a clause."""

    verdict: Verdict
    reason: str

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        return {"verdict": self.verdict, "reason": self.reason}


def measure_appearance(volume: Volume, brain: Volume) -> NDArray[np.float64] | None:
    """The ``MEASURES`` of an image: intensities less the brain's median, over the span of its 10th to 90th percentile.

    Parameters
    ----------
    volume : float image of any contrast and unit
    brain : uint8 or bool mask on the same grid

    Returns
    -------
    (15,), or None where the brain is too small a part of the image, or shows no contrast of tissues
    """
    step = tuple(slice(None, None, max(1, int(_COARSE_MM / mm + 0.01))) for mm in volume.spacing)
    image, mask = volume.array[step].astype(np.float64), brain.array[step] > 0
    spacing = volume.spacing * [s.step for s in step]
    values = image[mask]
    if values.size < _ENOUGH:
        return None
    depth = distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1][mask]
    if not _shows_tissues(values[depth > _INSIDE_MM]):
        return None
    low, median, high = np.percentile(values, [10, 50, 90])
    scores = (values - median) / (high - low)
    places = np.argwhere(mask) * spacing
    central = np.linalg.norm(places - places.mean(axis=0), axis=1) < _CENTER_MM
    layers = [
        float(np.median(layer)) if (layer := scores[(depth > shallow) & (depth <= deep)]).size else 0.0
        for shallow, deep in zip(_DEPTHS_MM[:-1], _DEPTHS_MM[1:], strict=True)
    ]
    if not central.any():
        return None
    return np.array(
        [*np.percentile(scores, _PERCENTILES), *layers, *np.percentile(scores[central], _CENTRAL_PERCENTILES)]
    )


def _shows_tissues(inside: NDArray[np.float64]) -> bool:
    """Whether the inside of the brain has contrast: a uniform ball would be judged by its noise."""
    if not inside.size:
        return False
    low, median, high = np.percentile(inside, [10, 50, 90])
    return bool(high - low > _TISSUES * abs(median))


def recognize(measures: NDArray[np.float64]) -> dict[Sequence, float]:
    """The probability of each of ``CLASSES``, by the multinomial logistic regression of ``configs/appearance.json``."""
    weights, offsets = _model()
    scores = weights @ measures + offsets
    parts = np.exp(scores - scores.max())
    return dict(zip(CLASSES, (float(p) for p in parts / parts.sum()), strict=True))


@lru_cache(maxsize=1)
def _model() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, 15) weights and (3,) offsets; ``tools/fit_appearance.py`` makes them."""
    stored: Mapping[str, list[float]] = json.loads(config_file("appearance.json").read_text(encoding="utf-8"))
    return np.array(stored["weights"]), np.array(stored["offsets"])
