"""Reliability against scikit-learn, and against what was drawn."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from acuity.metrics.calibration import BINS, LOWEST, Reliability, reliability


def drawn(power, seed=0):
    """Probabilities, and voxels that are in the region with that probability to a power."""
    rng = np.random.default_rng(seed)
    probabilities = rng.uniform(0, 1, (40, 40, 25)).astype(np.float32)
    return probabilities, rng.uniform(0, 1, probabilities.shape) < probabilities**power


def test_bins_agree_with_scikit_learn():
    probabilities, target = drawn(2)
    found = reliability(probabilities, target)
    chosen = probabilities >= LOWEST
    frequency, mean = calibration_curve(target[chosen], probabilities[chosen], n_bins=BINS)
    np.testing.assert_allclose(found.positives / found.voxels, frequency)
    np.testing.assert_allclose(found.probabilities / found.voxels, mean, rtol=1e-6)
    assert found.voxels.sum() == chosen.sum()


def test_true_probabilities_have_no_error():
    assert reliability(*drawn(1)).expected_calibration_error < 0.01


@pytest.mark.parametrize("power", [0.5, 2])
def test_wrong_probabilities_have_theirs(power):
    """The mean of |p - p**power| over 0..1 is 1/6 for both."""
    assert reliability(*drawn(power)).expected_calibration_error == pytest.approx(1 / 6, abs=0.01)


def test_cases_add_up():
    first, second = drawn(1), drawn(2, seed=1)
    both = reliability(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
    added = reliability(*first) + reliability(*second)
    np.testing.assert_array_equal(added.voxels, both.voxels)
    np.testing.assert_array_equal(added.positives, both.positives)
    assert added.expected_calibration_error == pytest.approx(both.expected_calibration_error)


def test_certain_voxels_are_in_the_first_and_the_last_bin():
    found = reliability(np.array([0.0, LOWEST, 1.0]), np.array([True, False, True]))
    assert list(found.voxels) == [1, *[0] * (BINS - 2), 1]
    assert list(found.positives) == [0] * (BINS - 1) + [1]


def test_nothing_has_no_error():
    nothing = np.zeros(BINS, np.int64)
    assert np.isnan(Reliability(nothing, nothing, nothing.astype(float)).expected_calibration_error)
