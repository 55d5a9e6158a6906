"""Choices of the segmentation: which settings are taken, where the best is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit

from acuity.imaging.regions import Postprocessing
from acuity.research.evaluation.segmentation import choices as segmentation_choices
from acuity.research.evaluation.segmentation.choices import START, Found, Search, calibrate, found_in, grade_table
from acuity.research.evaluation.segmentation.held_out import Brain

SHAPE = (24, 20, 16)
TUMOR = (slice(None), slice(4, 12), slice(4, 12), slice(4, 12))  # 0.512 ml
FALSE = (slice(None), slice(16, 22), slice(12, 18), slice(10, 15))  # 0.18 ml


def brain(probabilities: NDArray, target: NDArray, name: str = "case") -> Brain:
    return Brain(
        name, np.ones(SHAPE, bool), target, logit(probabilities).astype(np.float16), None, np.ones(SHAPE, bool)
    )


def truth() -> NDArray[np.bool_]:
    target = np.zeros((3, *SHAPE), bool)
    target[TUMOR] = True
    return target


def chosen(*brains: Brain) -> Postprocessing:
    return Search().postprocessing(found_in(brains, 0.5), (1.0, 1.0, 1.0))


def of_tumor(value: float, false: float) -> NDArray[np.float64]:
    probabilities = np.full((3, *SHAPE), 0.001)
    probabilities[TUMOR], probabilities[FALSE] = value, false
    return probabilities


def test_where_all_is_right_nothing_is_changed() -> None:
    healthy = brain(np.full((3, *SHAPE), 0.001), np.zeros((3, *SHAPE), bool), "mirrored")
    assert chosen(brain(of_tumor(0.99, 0.001), truth()), healthy) == START


def test_a_tumor_that_is_too_faint_for_half_is_found_by_a_lower_threshold() -> None:
    faint = of_tumor(0.99, 0.001)
    faint[0][TUMOR[1:]] = 0.42
    assert chosen(brain(faint, truth())).thresholds == (0.4, 0.5, 0.5)


def test_no_more_than_a_little_is_found_in_healthy_brains() -> None:
    """A false part of 0.18 ml, which Dice alone does not see, is left out by its volume."""
    healthy = brain(of_tumor(0.001, 0.98), np.zeros((3, *SHAPE), bool), "mirrored")
    search = Search()
    both = [brain(of_tumor(0.99, 0.001), truth()), healthy]
    assert search.postprocessing(found_in(both, 0.5), (1.0, 1.0, 1.0)).smallest_part_ml == 0.2
    false_ml = {
        row["setting"]: row["false_ml"]
        for row in search.rows
        if row["case"] == "mirrored" and row["step"] == "smallest_part_ml"
    }
    assert false_ml["0.0"] == pytest.approx(0.18) and false_ml["0.2"] == 0


def test_a_true_tumor_counts_as_much_as_a_brain_without_one() -> None:
    """Small true tumors are not given up for one brain in which something is found."""
    small = truth()
    small[:, :, :, 6:] = False  # 0.128 ml
    probabilities = np.where(small, 0.9, 0.001)
    healthy = brain(of_tumor(0.001, 0.98), np.zeros((3, *SHAPE), bool), "mirrored")
    assert chosen(brain(probabilities, small), healthy) == chosen(brain(probabilities, small))
    assert chosen(brain(probabilities, small), healthy, healthy).smallest_part_ml == 0.2


def test_a_gain_within_the_margin_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    faint = np.where(truth(), 0.99, 0.001)
    faint[0, 4, 4, 4] = 0.47  # one voxel of 512
    assert chosen(brain(faint, truth())).thresholds == (0.5, 0.5, 0.5)
    monkeypatch.setattr(segmentation_choices, "MARGIN", 0.0)
    assert chosen(brain(faint, truth())).thresholds == (0.45, 0.5, 0.5)


def test_the_weight_is_the_one_that_finds_the_tumor() -> None:
    target = truth()
    missed = np.full(target.shape, logit(0.1), np.float16)
    looked = np.zeros(SHAPE, bool)
    looked[2:14, 2:14, 2:14] = True
    coarse = np.where(target, 2, -2).astype(np.float16)
    case = Brain("case", np.ones(SHAPE, bool), target, missed, coarse, looked)
    assert Search().weight([case]) == 0.4  # any of less than half is right, and this is the least change


def test_temperatures_are_fitted_inside_the_brains_with_a_tumor() -> None:
    rng = np.random.default_rng(0)
    true_logits = rng.normal(-1, 2, (3, *SHAPE)).astype(np.float32)
    target = rng.uniform(0, 1, true_logits.shape) < expit(true_logits)
    inside = np.zeros(SHAPE, bool)
    inside[2:-2, 2:-2] = True
    logits = np.where(inside, 3 * true_logits, 50).astype(np.float16)
    healthy = Brain("mirrored", inside, np.zeros((3, *SHAPE), bool), np.full((3, *SHAPE), 9, np.float16), None, inside)
    temperatures, calibration = calibrate([Brain("case", inside, target, logits, None, inside), healthy], 0.5)
    assert temperatures == pytest.approx((3, 3, 3), rel=0.15)
    for before, after in calibration.values():
        assert after.expected_calibration_error < before.expected_calibration_error / 2


def test_the_best_is_told_by_grade_and_absent_regions_by_bratss_rule() -> None:
    target = truth()
    without_enhancement = target.copy()
    without_enhancement[0] = False
    probabilities = np.where(target, 0.99, 0.001).astype(np.float32)
    low, high = "BraTS2021_01531", "BraTS2021_00002"
    found = [Found(low, without_enhancement, probabilities), Found(high, target, probabilities)]
    healthy = Found("mirrored", np.zeros_like(target), probabilities)
    table = grade_table([*found, healthy], Postprocessing())
    assert [line.strip("| ").split(" | ") for line in table.splitlines()[2:]] == [
        ["all", "2", "dsc", "0.500", "1.000", "1.000", "0.833"],
        ["all", "2", "hd95_mm", "186.6", "0.0", "0.0", "62.2"],
        ["high", "1", "dsc", "1.000", "1.000", "1.000", "1.000"],
        ["high", "1", "hd95_mm", "0.0", "0.0", "0.0", "0.0"],
        ["low", "1", "dsc", "0.000", "1.000", "1.000", "0.667"],
        ["low", "1", "hd95_mm", "373.1", "0.0", "0.0", "124.4"],
    ]
