"""The bootstrap against what is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from acuity.research.evaluation.bootstrap import FEWEST_CASES, paired_difference


def test_many_normal_differences_have_the_analytic_interval():
    values = np.random.default_rng(0).normal(0.3, 1.0, 200)
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    found = paired_difference(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(low, abs=0.01) and found.high == pytest.approx(high, abs=0.01)


@pytest.mark.parametrize("n", [6, 12, 30])
def test_the_interval_holds_the_true_mean_about_as_often_as_it_says(n):
    """The plain percentile interval does so in 85% with six cases: below the bounds here."""
    rng = np.random.default_rng(n)
    found = [paired_difference(rng.normal(1.0, 2.0, n), resamples=1000, seed=k) for k in range(400)]
    coverage = np.mean([d.low <= 1.0 <= d.high for d in found])
    assert 0.915 <= coverage <= 0.985


def test_more_confidence_is_a_wider_interval_and_a_seed_repeats():
    values = np.random.default_rng(1).normal(size=10)
    narrow, wide = (paired_difference(values, confidence=c) for c in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    assert paired_difference(values) == paired_difference(values)
    assert paired_difference(values, seed=1) != paired_difference(values)


def test_a_shift_moves_and_a_gain_stretches_the_interval():
    values = np.random.default_rng(2).normal(size=8)
    plain, changed = paired_difference(values), paired_difference(3 * values + 5)
    assert (changed.low, changed.high) == pytest.approx((3 * plain.low + 5, 3 * plain.high + 5))


def test_what_is_real():
    assert paired_difference([0.5, 0.7, 0.6, 0.4, 0.5, 0.6]).real
    assert paired_difference([-0.5, -0.7, -0.6, -0.4, -0.5, -0.6]).real
    assert not paired_difference([0.5, -0.7, 0.6, -0.4, 0.5, -0.6]).real
    assert not paired_difference([0.0] * 10).real  # a tie
    # One sign in all cases comes up by chance in 2 / 2**n: above 5% here.
    assert 2 / 2**FEWEST_CASES < 0.05 < 2 / 2 ** (FEWEST_CASES - 1)
    assert not paired_difference([0.5] * (FEWEST_CASES - 1)).real


def test_one_case_has_no_interval():
    found = paired_difference([0.4])
    assert (found.mean, found.cases) == (0.4, 1)
    assert math.isnan(found.low) and math.isnan(found.high) and not found.real


@pytest.mark.parametrize("values", [[], [[1.0]], [1.0, math.nan]])
def test_what_is_no_list_of_differences_is_refused(values):
    with pytest.raises(ValueError, match="must be"):
        paired_difference(values)
