"""Tidying masks of tumours: what goes, what is filled, and what stays as it is."""

import numpy as np

from acuity.imaging.regions import tidied, with_enclosed_core, without_small_parts


def test_small_lone_parts_are_left_out_and_second_lesions_kept():
    regions = np.zeros((3, 30, 20, 10), bool)
    regions[:, 2:12, 2:12, 2:8] = True  # 600 voxels
    regions[2, 20:25, 2:7, 2:6] = True  # 100
    regions[:, 20:24, 12:16, 2:5] = True  # 48
    kept = without_small_parts(regions)
    np.testing.assert_array_equal(kept.sum(axis=(1, 2, 3)), [600, 600, 700])
    assert not without_small_parts(np.zeros_like(regions)).any()


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


def test_a_gap_in_the_ring_encloses_nothing():
    regions = ring()
    regions[:2, 6:8, 9, 10] = False
    np.testing.assert_array_equal(with_enclosed_core(regions), regions)


def test_the_core_stays_inside_the_whole_tumour():
    regions = ring()
    regions[2, 8:12, 8:12, 10] = False
    after = tidied(regions)
    assert (after[2] >= after[1]).all() and (after[1] >= after[0]).all()
    assert after[2, 8:12, 8:12, 10].all()


def test_edema_without_a_core_stays():
    regions = ring()
    regions[:2] = False
    np.testing.assert_array_equal(tidied(regions), regions)
