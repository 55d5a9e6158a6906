"""Reliability, temperatures and the expected Dice against scikit-learn, and against what was drawn."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from acuity.models.calibration import BINS, LOWEST, Reliability, expected_dice, fitted_temperature, reliability
from acuity.research.metrics.overlap import dice


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


@pytest.mark.parametrize(("power", "error"), [(1, 0), (0.5, 1 / 6), (2, 1 / 6)])
def test_the_calibration_error_is_the_mean_distance_from_the_frequency(power, error):
    """The mean of |p - p**power| over 0..1."""
    assert reliability(*drawn(power)).expected_calibration_error == pytest.approx(error, abs=0.01)


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


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    """Against scikit-learn's logistic regression without an intercept, whose coefficient is its inverse."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 2, (50, 40, 10)).astype(np.float32)
    target = rng.uniform(0, 1, truth.shape) < expit(truth)
    logits = truth * np.float32(temperature)
    found = fitted_temperature(logits, target)
    regression = LogisticRegression(C=np.inf, fit_intercept=False).fit(logits.reshape(-1, 1), target.ravel())
    assert found == pytest.approx(1 / regression.coef_[0, 0], rel=0.01)
    assert found == pytest.approx(temperature, rel=0.05)
    error = reliability(expit(logits), target).expected_calibration_error
    after = reliability(expit(logits / found), target).expected_calibration_error
    assert after < 0.02 and (temperature == 1 or after < error / 3)


def test_a_region_that_is_nowhere_has_a_temperature_too():
    assert 0.1 <= fitted_temperature(np.full((4, 4), -3, np.float32), np.zeros((4, 4), bool)) <= 10


def test_expected_dice_is_the_mean_of_drawn_truths():
    rng = np.random.default_rng(0)
    probabilities = np.clip(expit(gaussian_filter(rng.normal(0, 1, (20, 20, 20)), 2) * 40 - 2), 0, 1).astype(np.float32)
    mask = probabilities > 0.5
    drawn_truths = rng.uniform(0, 1, (50, *mask.shape)) < probabilities
    expected = np.mean([dice(mask, truth) for truth in drawn_truths])
    assert expected_dice(probabilities, mask) == pytest.approx(expected, abs=0.003)
    assert 0.5 < expected < 0.95
    assert expected_dice(mask.astype(np.float32), mask) == 1
    assert np.isnan(expected_dice(probabilities, np.zeros_like(mask)))
