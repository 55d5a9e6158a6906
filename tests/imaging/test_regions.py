"""From probabilities to masks: what goes, what is filled, what stays as it is, and which values are refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from skimage.measure import label, regionprops

from acuity.imaging.regions import (
    DEFAULT,
    Postprocessing,
    calibrated,
    mask_box,
    tidied,
    with_enclosed_core,
    without_doubtful_parts,
    without_little_enhancement,
)

PLAIN = Postprocessing(smallest_part=0.0, enclosed_core=False)


def lesions():
    """(3, 30, 20, 10): parts of 600, 100 and 48 voxels, the second without a core."""
    regions = np.zeros((3, 30, 20, 10), bool)
    regions[:, 2:12, 2:12, 2:8] = True
    regions[2, 20:25, 2:7, 2:6] = True
    regions[:, 20:24, 12:16, 2:5] = True
    return regions


def test_small_lone_parts_are_left_out_and_second_lesions_kept():
    regions = lesions()
    kept = without_doubtful_parts(regions, regions[2], DEFAULT)
    np.testing.assert_array_equal(kept.sum(axis=(1, 2, 3)), [600, 600, 700])
    assert not without_doubtful_parts(np.zeros_like(regions), regions[2], DEFAULT).any()


@pytest.mark.parametrize(("least_ml", "kept"), [(0.0479, 748), (0.0481, 700), (0.101, 600), (0.601, 0)])
def test_parts_below_a_volume_are_left_out_even_the_last(least_ml, kept):
    regions = lesions()
    found = tidied(regions, replace(PLAIN, smallest_part_ml=least_ml))
    assert found[2].sum() == kept
    twice = tidied(regions, replace(PLAIN, smallest_part_ml=2 * least_ml), voxel_ml=2e-3)
    np.testing.assert_array_equal(twice, found)


def test_parts_that_are_nowhere_sure_are_left_out():
    probabilities = np.where(lesions(), 0.6, 0.01).astype(np.float32)
    probabilities[2, 4, 4, 4], probabilities[2, 22, 4, 4], probabilities[0, 22, 14, 3] = 0.99, 0.85, 0.99
    kept = tidied(probabilities, replace(PLAIN, least_peak=0.9))
    assert regionprops(label(kept[2]))[0].bbox == (2, 2, 2, 12, 12, 8) and label(kept[2]).max() == 1
    assert tidied(probabilities, replace(PLAIN, least_peak=0.8))[2].sum() == 700
    assert tidied(probabilities, PLAIN)[2].sum() == 748  # ET's own peak counts for nothing


@pytest.mark.parametrize("least_ml", [0.0, 0.648, 0.649])
def test_little_enhancement_is_core(least_ml):
    regions = lesions()
    regions[1, 2:5] = False  # enhancing, and not yet core
    found = tidied(regions, replace(PLAIN, least_enhancing_ml=least_ml))
    assert found[0].sum() == (648 if least_ml < 0.649 else 0)
    if least_ml == 0.649:
        np.testing.assert_array_equal(found[1], regions[0])
    np.testing.assert_array_equal(found[2], regions[2])
    assert regions[0].sum() == 648  # the input stays


def test_enhancement_that_was_left_out_with_its_part_does_not_count():
    """What decides is what is released: 600 voxels after the parts, 648 before."""
    found = tidied(lesions(), replace(DEFAULT, least_enhancing_ml=0.62))
    assert found[0].sum() == 0 and found[1].sum() == 600
    np.testing.assert_array_equal(without_little_enhancement(lesions(), 0), lesions())


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


def ring():
    """(3, 20, 20, 20): edema round a core that is a ring in one plane, open above and below, and enhances."""
    regions = np.zeros((3, 20, 20, 20), bool)
    regions[2, 3:17, 3:17, 6:14] = True
    regions[:2, 6:14, 6:14, 10] = True
    regions[:2, 8:12, 8:12, 10] = False
    return regions


def test_what_a_ring_encloses_is_core_and_does_not_enhance():
    before = ring()
    after = with_enclosed_core(before)
    assert after[1, 8:12, 8:12, 10].all()
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[2], before[2])
    assert after[1].sum() == before[1].sum() + 16
    np.testing.assert_array_equal(before, ring())  # the input stays
    np.testing.assert_array_equal(tidied(before, replace(DEFAULT, enclosed_core=False)), before)


def test_a_gap_in_the_ring_encloses_nothing():
    regions = ring()
    regions[:2, 6:8, 9, 10] = False
    np.testing.assert_array_equal(with_enclosed_core(regions), regions)


def test_the_core_stays_inside_the_whole_tumor():
    regions = ring()
    regions[2, 8:12, 8:12, 10] = False
    after = tidied(regions)
    assert (after[2] >= after[1]).all() and (after[1] >= after[0]).all()
    assert after[2, 8:12, 8:12, 10].all()


def test_edema_without_a_core_stays():
    regions = ring()
    regions[:2] = False
    np.testing.assert_array_equal(tidied(regions), regions)


def test_where_nothing_is_found_nothing_is_released():
    assert not tidied(np.full((3, 4, 4, 4), 0.5, np.float32)).any()
    assert mask_box(np.zeros((4, 5, 6), bool)) is None


def test_the_box_is_the_smallest_that_holds_all():
    mask = np.zeros((9, 8, 7), bool)
    mask[2, 3, 4] = mask[5, 3, 6] = True
    assert mask_box(mask) == (slice(2, 6), slice(3, 4), slice(4, 7))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperatures": [1, 1]}, r"temperatures are \(1.0, 1.0\); one is needed for each of ET, TC, WT"),
        ({"temperatures": [1, 0, 1]}, "must be above 0"),
        ({"thresholds": [0.5, 0.5, 1.5]}, "thresholds is .* within 0 to 1"),
        ({"smallest_part": -0.1}, "smallest_part is -0.1"),
        ({"least_peak": 2}, "least_peak is 2"),
        ({"smallest_part_ml": -1}, "smallest_part_ml is -1; it must be 0 or more"),
        ({"least_enhancing_ml": float("nan")}, "least_enhancing_ml is nan"),
    ],
)
def test_values_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Postprocessing(**values)
