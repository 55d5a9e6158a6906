"""How sure a segmentation is of each region: the Dice that it expects, and between which volumes the truth may lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from acuity.anatomy import Region, labels_to_regions
from acuity.models.calibration import expected_dice
from acuity.models.segmentation import SegmentationResult

SURE, POSSIBLE = 0.9, 0.1  # probabilities above which voxels count for the lower and for the upper volume


@dataclass(frozen=True)
class Uncertainty:
    """Of one region.

    Parameters
    ----------
    expected_dice : of the released mask, see ``acuity.models.calibration.expected_dice``; NaN where that is empty
    sure_ml, possible_ml : volumes at probabilities above SURE and above POSSIBLE, anywhere in the brain: the mask of a
        part that was left out as too small or too unsure counts in neither, its voxels do
    """

    expected_dice: float
    sure_ml: float
    possible_ml: float

    def describe(self) -> dict[str, Any]:
        """As ``result.json`` has it; null where there is nothing to expect."""
        expected = None if math.isnan(self.expected_dice) else round(self.expected_dice, 3)
        return {"expected_dice": expected, "volume_ml": [round(self.sure_ml, 3), round(self.possible_ml, 3)]}


def uncertainty(result: SegmentationResult) -> dict[Region, Uncertainty]:
    """Of each region, by its probabilities; they say what they should where the bundle's temperatures were fitted."""
    voxel = result.labels.grid.voxel_volume
    masks = labels_to_regions(result.labels.array)
    return {
        region: Uncertainty(
            expected_dice(probabilities, mask),
            float((probabilities > SURE).sum()) * voxel,
            float((probabilities > POSSIBLE).sum()) * voxel,
        )
        for region, probabilities, mask in zip(Region, result.probabilities, masks, strict=True)
    }
