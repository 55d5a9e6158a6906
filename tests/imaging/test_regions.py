"""From probabilities to masks: which parts are removed, which stay as they are, and which values are refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from skimage.measure import label, regionprops

from acuity.imaging.regions import Postprocessing, calibrated, mask_box, part_boxes, tidied

PLAIN = Postprocessing(smallest_part=0.0, smallest_part_ml=0.0, least_enhancing_ml=0.0)


def lesions():
    """(3, 30, 20, 10): parts of 600, 100 and 48 voxels, the second without a core."""
    regions = np.zeros((3, 30, 20, 10), bool)
    regions[:, 2:12, 2:12, 2:8] = True
    regions[2, 20:25, 2:7, 2:6] = True
    regions[:, 20:24, 12:16, 2:5] = True
    return regions


@pytest.mark.parametrize(
    ("choices", "sizes"),
    [
        ({}, [648, 648, 748]),
        ({"smallest_part": 0.079}, [648, 648, 748]),
        ({"smallest_part": 0.081}, [600, 600, 700]),
        ({"smallest_part": 0.2}, [600, 600, 600]),
        ({"smallest_part": 1.0}, [600, 600, 600]),
        ({"smallest_part_ml": 0.0479}, [648, 648, 748]),
        ({"smallest_part_ml": 0.0481}, [600, 600, 700]),
        ({"smallest_part_ml": 0.101}, [600, 600, 600]),
        ({"smallest_part_ml": 0.601}, [0, 0, 0]),
    ],
)
def test_small_parts_are_removed_from_all_regions_even_the_last(choices, sizes):
    found = tidied(lesions(), replace(PLAIN, **choices))
    np.testing.assert_array_equal(found.sum(axis=(1, 2, 3)), sizes)
    assert not (found & ~lesions()).any()
    ml = choices.get("smallest_part_ml", 0.0)
    larger = tidied(lesions(), replace(PLAIN, **choices | {"smallest_part_ml": 2 * ml}), voxel_ml=2e-3)
    np.testing.assert_array_equal(larger, found)
    if sizes[2] == 600:
        assert [part.bbox for part in regionprops(label(found[2]))] == [(2, 2, 2, 12, 12, 8)]


def test_parts_that_touch_at_a_face_are_one_and_at_an_edge_two():
    regions = np.zeros((3, 8, 8, 8), bool)
    regions[2, :4, :4, :4] = regions[2, 4, 0, 0] = regions[1, 5, 0, 0] = True
    assert tidied(regions, replace(PLAIN, smallest_part=0.5)).sum() == 66
    regions[2, 4, 0, 0] = regions[1, 5, 0, 0] = False
    regions[2, 4, 4, 0] = True
    assert tidied(regions, replace(PLAIN, smallest_part=0.5)).sum() == 64


def test_each_region_has_its_threshold():
    probabilities = np.linspace(0, 1, 101, dtype=np.float32).reshape(1, 101, 1, 1).repeat(3, axis=0)
    found = tidied(probabilities, replace(PLAIN, thresholds=(0.305, 0.505, 0.705)))
    np.testing.assert_array_equal(found.sum(axis=(1, 2, 3)), [70, 50, 30])


def test_temperatures_move_probabilities_and_not_the_border():
    logits = np.random.default_rng(0).normal(0, 3, (3, 4, 5, 6)).astype(np.float32)
    warm = calibrated(logits, (1.0, 2.0, 0.5))
    for region, temperature in enumerate((1.0, 2.0, 0.5)):
        np.testing.assert_allclose(warm[region], expit(logits[region] / temperature), rtol=1e-5)
    np.testing.assert_array_equal(warm > 0.5, logits > 0)
    np.testing.assert_allclose(calibrated(logits, PLAIN.temperatures), expit(logits), rtol=1e-5)


def test_where_nothing_is_found_nothing_is_released():
    assert not tidied(np.full((3, 4, 4, 4), 0.5, np.float32), PLAIN).any()
    lone = lesions() & (np.arange(30) < 12)[:, None, None]
    assert tidied(lone, replace(PLAIN, smallest_part_ml=0.599)).sum() == 1800
    assert not tidied(lone, replace(PLAIN, smallest_part_ml=0.601)).any()
    assert tidied(lone, replace(PLAIN, smallest_part_ml=150.0), voxel_ml=0.25).sum() == 1800


@pytest.mark.parametrize(("voxel_ml", "kept"), [(0.5e-3, False), (1e-3, True)])
def test_too_little_enhancement_in_all_is_core_without_enhancement(voxel_ml, kept):
    """Two parts of 200 voxels of ET: each is too small alone, together they are 0.4 ml at 1 mm."""
    regions = np.zeros((3, 30, 20, 10), bool)
    regions[2, 2:28, 2:18, 1:9] = True
    regions[0, 3:8, 3:8, 1:9] = regions[0, 20:25, 3:8, 1:9] = True  # 200 voxels each
    regions[1, 3:8, 3:12, 1:9] = True
    found = tidied(regions, replace(PLAIN, least_enhancing_ml=0.3), voxel_ml=voxel_ml)
    assert found[0].any() == kept
    np.testing.assert_array_equal(found[1] | found[0], regions[1] | regions[0])
    np.testing.assert_array_equal(found[2], regions[2])


@pytest.mark.parametrize("margin", [0, 1, 3])
def test_the_box_is_the_smallest_that_holds_all_with_a_margin_inside_the_image(margin):
    mask = np.zeros((9, 8, 7), bool)
    mask[2, 3, 4] = mask[5, 3, 6] = True
    box = (slice(2 - min(margin, 2), 6 + margin), slice(3 - margin, 4 + margin), slice(4 - margin, 7))
    assert mask_box(mask, margin) == box
    assert mask_box(np.zeros_like(mask), margin) is None


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.005, 0.2), st.integers(1, 4), st.integers(0, 4))
def test_boxes_of_parts_hold_each_large_part_once_and_do_not_overlap(seed, density, smallest, margin):
    mask = np.random.default_rng(seed).random((12, 11, 10)) < density
    boxes = part_boxes(mask, smallest=smallest, margin=margin)
    times = np.zeros(mask.shape, int)
    for box in boxes:
        times[box] += 1
    assert times.max() <= 1
    for part in regionprops(label(mask, connectivity=3)):
        start, stop = np.array(part.bbox).reshape(2, 3)
        around = tuple(slice(max(0, a - margin), b + margin) for a, b in zip(start, stop, strict=True))
        assert part.area < smallest or (times[around] == 1).all()
    assert len(boxes) <= sum(part.area >= smallest for part in regionprops(label(mask, connectivity=3)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperatures": [1, 1]}, r"temperatures are \(1.0, 1.0\); one is needed for each of ET, TC, WT"),
        ({"temperatures": [1, 0, 1]}, "must be above 0"),
        ({"thresholds": [0.5, 0.5, 1.5]}, "thresholds is .* within 0 to 1"),
        ({"smallest_part": -0.1}, "smallest_part is -0.1"),
        ({"smallest_part_ml": -1}, "smallest_part_ml is -1; it must be 0 or more"),
        ({"smallest_part_ml": float("nan")}, "smallest_part_ml is nan"),
        ({"least_peak": 0.98}, "least_peak is 0.98; that step is gone"),
        ({"least_enhancing_ml": -0.1}, "least_enhancing_ml is -0.1; it must be 0 or more"),
        ({"enclosed_core": True}, "enclosed_core is True; that step is gone"),
    ],
)
def test_values_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Postprocessing(**values)
