"""How sure a segmentation is of each region, by voxels that can be counted."""

import json

import numpy as np
import pytest

from acuity.anatomy import Label, Region
from acuity.models.segmentation import SegmentationResult
from acuity.models.uncertainty import uncertainty
from acuity.volume import Volume


def test_each_region_by_its_own_voxels():
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[:2], labels[2:4] = Label.EDEMA, Label.NECROSIS
    probabilities = np.zeros((3, 10, 10, 10), np.float32)
    probabilities[2, :4], probabilities[2, 4:6], probabilities[2, 0, 0] = 0.95, 0.2, 0.6
    probabilities[1, 2:4] = 0.75
    found = uncertainty(SegmentationResult(Volume(labels, np.diag([2.0, 1, 1, 1])), probabilities))
    inside = 390 * 0.95 + 10 * 0.6
    assert found[Region.WT].expected_dice == pytest.approx(2 * inside / (inside + 40 + 400))
    assert (found[Region.WT].sure_ml, found[Region.WT].possible_ml) == pytest.approx((0.78, 1.2))
    assert found[Region.TC].expected_dice == pytest.approx(2 * 150 / (150 + 200))
    assert (found[Region.TC].sure_ml, found[Region.TC].possible_ml) == pytest.approx((0, 0.4))
    assert found[Region.ET].describe() == {"expected_dice": None, "volume_ml": [0, 0]}
    assert json.loads(json.dumps(found[Region.TC].describe())) == {"expected_dice": 0.857, "volume_ml": [0.0, 0.4]}
