"""Overlap against independent implementations: MONAI, scipy and DeepMind's surface-distance."""

import math

import numpy as np
import pytest
import surface_distance
import torch
from monai.metrics import compute_dice, compute_iou
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from acuity.research.metrics.overlap import (
    ABSENT_MM,
    Overlap,
    brats_overlap,
    dice,
    hausdorff95,
    jaccard,
    present_overlap,
)

# surface-distance 0.1 imports from where scipy's filters were once.
OLD_IMPORTS = pytest.mark.filterwarnings("ignore:Please import `.*` from the `scipy.ndimage` namespace")

EMPTY, SOME = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)


def ball(center, radius, shape=(24, 20, 16)):
    return sum((g - c) ** 2 for g, c in zip(np.indices(shape), center, strict=True)) <= radius**2


def blobs(seed):
    """Two lobulated masks that overlap in part."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((2, 28, 24, 20)), (0, 3, 3, 3))
    return noise[0] > 0.6 * noise.std(), noise[0] + 0.6 * noise[1] > 0.8 * noise.std()


def test_dice_counts():
    a, b = np.zeros(10, bool), np.zeros(10, bool)
    a[:4], b[2:8] = True, True
    assert dice(a, b) == pytest.approx(2 * 2 / 10)
    assert jaccard(a, b) == pytest.approx(2 / 8)


@pytest.mark.parametrize("seed", range(3))
def test_dice_and_jaccard_agree_with_monai(seed):
    preds, target = blobs(seed)
    pair = [torch.from_numpy(mask)[None, None] for mask in (preds, target)]
    overlap = brats_overlap(preds, target, spacing=(1.0, 1.0, 1.0))
    assert 0.2 < overlap.dsc < 0.95
    assert overlap.dsc == pytest.approx(float(compute_dice(*pair)), abs=1e-6)
    assert overlap.iou == pytest.approx(float(compute_iou(*pair)), abs=1e-6)


def test_hausdorff_agrees_with_distance_transforms():
    spacing = (1.0, 2.0, 1.5)
    a, b = ball((10, 9, 8), 5), ball((13, 10, 8), 4)

    def distances(of, to):
        surface = to & ~binary_erosion(to)
        return distance_transform_edt(~surface, sampling=spacing)[of & ~binary_erosion(of)]

    expected = max(np.percentile(distances(a, b), 95), np.percentile(distances(b, a), 95))
    assert hausdorff95(a, b, spacing=spacing) == pytest.approx(expected, abs=1e-3)


@OLD_IMPORTS
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.6, 1.2, 3.0)])
def test_hausdorff_agrees_with_surface_distance(spacing):
    """Its surface runs between voxels, and its percentile is of areas: not of border voxels, of which each counts."""
    differences = []
    for seed in range(4):
        preds, target = blobs(seed)
        judge = surface_distance.compute_robust_hausdorff(
            surface_distance.compute_surface_distances(target, preds, spacing), 95
        )
        differences.append(abs(hausdorff95(preds, target, spacing=spacing) - judge))
        assert judge >= max(spacing)
    assert max(differences) < max(spacing)
    assert np.mean(differences) < max(spacing) / 3


@OLD_IMPORTS
@pytest.mark.parametrize("axis", range(3))
def test_hausdorff_is_in_millimeters(axis):
    """Cubes that are apart by a known distance: exactly so for surface-distance, too."""
    spacing = (0.5, 1.0, 2.5)
    preds, target = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    target[4:8, 4:8, 4:8] = True
    preds[tuple(slice(4 + 6 * (a == axis), 8 + 6 * (a == axis)) for a in range(3))] = True
    expected = 6 * spacing[axis]
    judge = surface_distance.compute_surface_distances(target, preds, spacing)
    assert surface_distance.compute_robust_hausdorff(judge, 95) == pytest.approx(expected)
    assert hausdorff95(preds, target, spacing=spacing) == pytest.approx(expected)


def test_absent_regions_by_brats_rule():
    spacing = (1.0, 1.0, 1.0)
    assert brats_overlap(EMPTY, EMPTY, spacing=spacing) == Overlap(1, 1, 0)
    assert brats_overlap(SOME, SOME, spacing=spacing) == Overlap(1, 1, 0)
    for pair in ((SOME, EMPTY), (EMPTY, SOME)):
        assert brats_overlap(*pair, spacing=spacing) == Overlap(0, 0, ABSENT_MM)
    assert pytest.approx(np.sqrt(240**2 + 240**2 + 155**2), abs=0.01) == ABSENT_MM


def test_absent_regions_by_the_rule_of_the_thesis():
    def scores(preds, target):
        overlap = present_overlap(brats_overlap(preds, target, spacing=(1.0, 1.0, 1.0)), preds, target)
        return overlap.dsc, overlap.iou, overlap.hd95_mm

    assert scores(SOME, SOME) == (1, 1, 0)
    assert all(math.isnan(value) for value in (*scores(EMPTY, EMPTY), *scores(SOME, EMPTY)))
    missed = scores(EMPTY, SOME)
    assert missed[:2] == (0, 0) and math.isnan(missed[2])
