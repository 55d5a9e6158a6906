"""The bootstrap against what is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from acuity.research.evaluation.statistics import FEWEST_CASES, Difference, paired_difference


def test_many_normal_differences_have_the_analytic_interval():
    values = np.random.default_rng(0).normal(0.3, 1.0, 200)
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    found = paired_difference(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(low, abs=0.01) and found.high == pytest.approx(high, abs=0.01)


@pytest.mark.parametrize("n", [6, 12, 30])
def test_the_interval_holds_the_true_mean_about_as_often_as_it_says(n):
    """The plain percentile interval does so in 85 % with six cases: below the bounds here."""
    rng = np.random.default_rng(n)
    found = [paired_difference(rng.normal(1.0, 2.0, n)) for _ in range(400)]
    coverage = np.mean([d.low <= 1.0 <= d.high for d in found])
    assert 0.915 <= coverage <= 0.985


def test_a_shift_moves_and_a_gain_stretches_the_interval():
    values = np.random.default_rng(2).normal(size=8)
    plain, changed = paired_difference(values), paired_difference(3 * values + 5)
    assert (changed.low, changed.high) == pytest.approx((3 * plain.low + 5, 3 * plain.high + 5))
    assert plain == paired_difference(values)


def test_an_interval_excludes_zero_where_there_are_cases_enough():
    assert paired_difference([0.5, 0.7, 0.6, 0.4, 0.5, 0.6]).excludes_zero
    assert paired_difference([-0.5, -0.7, -0.6, -0.4, -0.5, -0.6]).excludes_zero
    assert not paired_difference([0.5, -0.7, 0.6, -0.4, 0.5, -0.6]).excludes_zero
    assert not paired_difference([0.0] * 10).excludes_zero  # a tie
    # One sign in all cases comes up by chance in 2 / 2**n: above 5 % here.
    assert 2 / 2**FEWEST_CASES < 0.05 < 2 / 2 ** (FEWEST_CASES - 1)
    assert not paired_difference([0.5] * (FEWEST_CASES - 1)).excludes_zero


@pytest.mark.parametrize(
    ("difference", "interval", "verdict"),
    [
        (Difference(0.123, 0.05, 0.2, 6), "+0.12 (+0.05 to +0.20)", "excludes 0, n = 6"),
        (Difference(-0.123, -0.2, 0.001, 8), "-0.12 (-0.20 to +0.00)", "includes 0, n = 8"),
        # Steady, but not to be seen in the digits that are shown.
        (Difference(-0.001, -0.001, -0.001, 8), "+0.00 (+0.00 to +0.00)", "includes 0, n = 8"),
        (Difference(1.0, 0.9, 1.1, 5), "+1.00 (+0.90 to +1.10)", "too few cases, n = 5"),
        (paired_difference([0.4]), "+0.40 (one case)", "too few cases, n = 1"),
    ],
)
def test_a_difference_in_words(difference, interval, verdict):
    assert (difference.interval(2), difference.verdict(2)) == (interval, verdict)


@pytest.mark.parametrize("values", [[], [[1.0]], [1.0, math.nan]])
def test_what_is_no_list_of_differences_is_refused(values):
    with pytest.raises(ValueError, match="must be"):
        paired_difference(values)
