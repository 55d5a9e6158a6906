"""Overlap lesion by lesion against numbers worked out by hand, scipy's parts and DeepMind's surface-distance."""

import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from acuity.research.metrics.lesions import NSD_TOLERANCE_MM, LesionOverlap, lesion_overlap, surface_dice
from acuity.research.metrics.overlap import dice

ONE_MM = (1.0, 1.0, 1.0)
OLD_IMPORTS = pytest.mark.filterwarnings("ignore:Please import `.*` from the `scipy.ndimage` namespace")


def boxes(*corners, shape=(40, 40, 40)):
    mask = np.zeros(shape, bool)
    for start, stop in corners:
        mask[start:stop, start:stop, start:stop] = True
    return mask


def test_missed_and_false_lesions_count_as_zero():
    target = boxes((2, 12), (20, 24))
    preds = boxes((3, 12), (30, 34))
    found = lesion_overlap(preds, target, spacing=ONE_MM)
    of_the_first = 2 * 9**3 / (9**3 + 10**3)
    assert (found.lesions_missed, found.lesions_false) == (1, 1)
    assert found.lesion_dsc == pytest.approx(of_the_first / 3)
    assert dice(preds, target) > 0.75, "the Dice of all voxels hardly notices either"


@pytest.mark.parametrize(
    ("preds", "target", "expected"),
    [
        (boxes(), boxes(), LesionOverlap(1.0, 0, 0, 1.0)),
        (boxes(), boxes((2, 6), (16, 20)), LesionOverlap(0.0, 2, 0, 0.0)),
        (boxes((2, 6), (16, 20)), boxes(), LesionOverlap(0.0, 0, 2, 0.0)),
        (boxes((2, 6)), boxes((2, 6)), LesionOverlap(1.0, 0, 0, 1.0)),
        (boxes((20, 23)), boxes(), LesionOverlap(1.0, 0, 0, 0.0)),  # 27 mm3
    ],
    ids=["neither", "all missed", "all false", "equal", "too small to count"],
)
def test_absent_lesions(preds, target, expected):
    assert lesion_overlap(preds, target, spacing=ONE_MM) == expected


@pytest.mark.parametrize(("gap", "missed"), [(0, 0), (4, 0), (9, 1)])
def test_parts_that_lie_close_together_are_one_lesion(gap, missed):
    target = boxes((2, 8), (8 + gap, 12 + gap))
    assert lesion_overlap(boxes((2, 8)), target, spacing=ONE_MM).lesions_missed == missed


def test_the_size_of_voxels_counts():
    target = boxes((2, 6), (16, 20))
    preds = boxes((2, 6))
    assert lesion_overlap(preds, target, spacing=ONE_MM).lesions_missed == 1
    assert lesion_overlap(preds, target, spacing=(0.8, 0.8, 1.0)).lesions_missed == 0, "41 mm3 do not count"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 2.0))
def test_counts_agree_with_lesions_that_share_no_voxel(seed, level):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((2, 24, 24, 24)), (0, 2, 2, 2))
    noise /= noise.std()
    preds, target = noise[0] > level, noise[0] + noise[1] > 1.4 * level
    found = lesion_overlap(preds, target, spacing=ONE_MM)
    grow = {"structure": ndimage.generate_binary_structure(3, 2), "iterations": 3}
    counts, apart = [], []
    for mask, other in ((preds, target), (target, preds)):
        parts, _ = ndimage.label(ndimage.binary_dilation(mask, **grow), np.ones((3, 3, 3)))
        sizes = ndimage.sum_labels(mask, parts, np.arange(1, parts.max() + 1))
        touched = ndimage.sum_labels(mask & other, parts, np.arange(1, parts.max() + 1))
        counts.append(int((sizes >= 50).sum()))
        apart.append(int(((sizes >= 50) & (touched == 0)).sum()))
    assert found.lesions_false >= apart[0] and found.lesions_missed >= apart[1]
    assert counts[0] - found.lesions_false == counts[1] - found.lesions_missed, "lesions match in pairs"
    assert 0 <= found.lesion_dsc <= 1


@OLD_IMPORTS
@pytest.mark.parametrize("spacing", [ONE_MM, (0.7, 1.0, 2.0)])
def test_surface_dice_agrees_with_surface_distance(spacing):
    """Its surface lies between voxels, too, but is made of other triangles."""
    rng = np.random.default_rng(3)
    for _ in range(4):
        noise = ndimage.gaussian_filter(rng.standard_normal((2, 28, 24, 20)), (0, 3, 3, 3))
        preds, target = noise[0] > 0.6 * noise.std(), noise[0] + 0.3 * noise[1] > 0.6 * noise.std()
        judge = surface_distance.compute_surface_dice_at_tolerance(
            surface_distance.compute_surface_distances(target, preds, spacing), NSD_TOLERANCE_MM
        )
        assert surface_dice(preds, target, spacing=spacing) == pytest.approx(judge, abs=0.03)


def test_a_border_within_the_tolerance_counts_as_right():
    target, preds = boxes((5, 20)), boxes((5, 20))
    preds[5] = False  # one face lies 1 mm deeper
    assert surface_dice(preds, target, spacing=ONE_MM) == pytest.approx(1.0)
    preds[6:8] = False  # and now 3 mm
    assert surface_dice(preds, target, spacing=ONE_MM) < 0.9
    assert surface_dice(preds, target, spacing=(0.25, 1.0, 1.0)) > 0.95
