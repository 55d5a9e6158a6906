"""How unsure the served model was of each case, remembered between requests."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

import numpy as np

from acuity.anatomy import Region
from acuity.models.uncertainty import Uncertainty
from label.files import write_json


def doubt(found: Mapping[Region, Uncertainty]) -> float:
    """1 minus the mean Dice that a segmentation expects of its regions, 0 to 1.

    Regions of which it found nothing do not count. Where it found nothing at all, the doubt is 1: in a patient who is
    examined for a tumor, that is the first case that a person should look at.
    """
    expected = [one.expected_dice for one in found.values() if not math.isnan(one.expected_dice)]
    return 1.0 - float(np.mean(expected)) if expected else 1.0


class Doubts:
    """A file of doubts by model and case; cases stand in it by digests of their ids.

    Parameters
    ----------
    path : of the file; a damaged one is begun anew, since all of it can be computed again
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()

    def note(self, image_id: str, weights_sha256: str, found: Mapping[Region, Uncertainty]) -> None:
        """Remember the doubt of a case; those of other models are forgotten."""
        with self._lock:
            kept = {**self._read(weights_sha256), _key(image_id): round(doubt(found), 4)}
            write_json({weights_sha256: kept}, self._path)

    def of(self, image_id: str, weights_sha256: str) -> float | None:
        """The doubt of this model about a case; None where it is not known."""
        return self._read(weights_sha256).get(_key(image_id))

    def _read(self, weights_sha256: str) -> dict[str, float]:
        try:
            found: dict[str, float] = json.loads(self._path.read_text()).get(weights_sha256, {})
        except (OSError, ValueError, AttributeError):
            return {}
        return found


def _key(image_id: str) -> str:
    return hashlib.sha256(image_id.encode()).hexdigest()[:16]
