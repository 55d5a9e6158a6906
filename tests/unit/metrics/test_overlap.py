"""Overlap against an independent implementation."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from acuity.metrics.overlap import dice, hausdorff95


def ball(centre, radius, shape=(24, 20, 16)):
    return sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True)) <= radius**2


def test_dice_of_absent_regions_is_brats_rule():
    empty, some = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    assert dice(empty, empty) == 1
    assert dice(some, empty) == dice(empty, some) == 0
    assert dice(some, some) == 1


def test_dice_counts():
    a, b = np.zeros(10, bool), np.zeros(10, bool)
    a[:4], b[2:8] = True, True
    assert dice(a, b) == pytest.approx(2 * 2 / 10)


def test_hausdorff_agrees_with_distance_transforms():
    spacing = (1.0, 2.0, 1.5)
    a, b = ball((10, 9, 8), 5), ball((13, 10, 8), 4)

    def distances(of, to):
        surface = to & ~binary_erosion(to)
        return distance_transform_edt(~surface, sampling=spacing)[of & ~binary_erosion(of)]

    expected = max(np.percentile(distances(a, b), 95), np.percentile(distances(b, a), 95))
    assert hausdorff95(a, b, spacing=spacing) == pytest.approx(expected, abs=1e-3)


def test_hausdorff_of_absent_regions_is_brats_rule():
    empty, some = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    assert hausdorff95(empty, empty, spacing=(1, 1, 1)) == 0
    assert hausdorff95(some, empty, spacing=(1, 1, 1)) == pytest.approx(np.sqrt(240**2 + 240**2 + 155**2), abs=0.01)
