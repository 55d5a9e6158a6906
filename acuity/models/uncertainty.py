"""For each region of a segmentation, its expected Dice, and a lower and an upper estimate of its volume."""

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
    expected_dice : of the released mask, see ``acuity.models.calibration.expected_dice``; NaN for an empty mask
    sure_ml, possible_ml : volumes of all voxels of the brain with a probability above SURE and above POSSIBLE, also in
        parts that postprocessing removed from the mask
    """

    expected_dice: float
    sure_ml: float
    possible_ml: float

    def describe(self) -> dict[str, Any]:
        """As ``result.json`` has it, with null for NaN."""
        expected = None if math.isnan(self.expected_dice) else round(self.expected_dice, 3)
        return {"expected_dice": expected, "volume_ml": [round(self.sure_ml, 3), round(self.possible_ml, 3)]}


def uncertainty(result: SegmentationResult) -> dict[Region, Uncertainty]:
    """The uncertainty of each region, by its probabilities; meaningful where the bundle's temperatures were fitted."""
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
