"""Choices of the segmentation: what both networks give, and which settings are taken, where the best is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from acuity.data.patches import PreparedCase
from acuity.evaluation import segmentation_choices
from acuity.evaluation.segmentation_choices import Brain, Search, calibrate, see
from acuity.imaging.regions import Postprocessing
from acuity.inference.segmentation import ALL_VIEWS, LEFT_RIGHT, ONE_VIEW, coarse_to_fine
from acuity.networks.cascade import CoarseToFine

SHAPE = (24, 20, 16)
TUMOR = (slice(None), slice(4, 12), slice(4, 12), slice(4, 12))  # 0.512 ml
FALSE = (slice(None), slice(16, 22), slice(12, 18), slice(10, 15))  # 0.18 ml


def brain(probabilities: NDArray, target: NDArray, name: str = "case", box: tuple[slice, ...] | None = None) -> Brain:
    coarse = logit(probabilities).astype(np.float32)
    return Brain(name, np.ones(SHAPE, bool), target, coarse, {}, box)


def truth() -> NDArray[np.bool_]:
    target = np.zeros((3, *SHAPE), bool)
    target[TUMOR] = True
    return target


def chosen(*brains: Brain) -> Postprocessing:
    return Search().postprocessing(brains, 1, 0.5, (1.0, 1.0, 1.0))


def of_tumor(value: float, false: float) -> NDArray[np.float64]:
    probabilities = np.full((3, *SHAPE), 0.001)
    probabilities[TUMOR], probabilities[FALSE] = value, false
    return probabilities


def test_where_all_is_right_nothing_is_changed() -> None:
    healthy = brain(np.full((3, *SHAPE), 0.001), np.zeros((3, *SHAPE), bool), "mirrored")
    assert chosen(brain(of_tumor(0.99, 0.001), truth()), healthy) == Postprocessing(
        smallest_part=0.0, enclosed_core=False
    )


def test_a_tumour_that_is_too_faint_for_half_is_found_by_a_lower_threshold() -> None:
    faint = of_tumor(0.99, 0.001)
    faint[0][TUMOR[1:]] = 0.42
    assert chosen(brain(faint, truth())).thresholds == (0.4, 0.5, 0.5)


def test_no_more_than_a_little_is_found_in_healthy_brains() -> None:
    """A false part of 0.18 ml that reaches 0.75: by its volume or its peak, whichever is the smaller change."""
    healthy = brain(of_tumor(0.001, 0.75), np.zeros((3, *SHAPE), bool), "mirrored")
    search = Search()
    found = search.postprocessing([brain(of_tumor(0.99, 0.001), truth()), healthy], 1, 0.5, (1.0, 1.0, 1.0))
    # What is chosen by Dice alone does not see it. A peak of 0.8 is two steps of change, 0.2 ml three.
    assert (found.smallest_part_ml, found.least_peak) == (0.0, 0.8)
    false_ml = {row["setting"]: float(row["false_ml"]) for row in search.rows
                if row["case"] == "mirrored" and row["step"] == "smallest_part_ml, least_peak"}  # fmt: skip
    assert false_ml["0.0, 0.0"] == pytest.approx(0.18) and false_ml["0.0, 0.8"] == 0
    surer = brain(of_tumor(0.001, 0.98), np.zeros((3, *SHAPE), bool), "mirrored")
    found = chosen(brain(of_tumor(0.99, 0.001), truth()), surer)
    assert (found.smallest_part_ml, found.least_peak) == (0.2, 0.0)


def test_false_enhancement_of_a_low_grade_tumour_is_left_out() -> None:
    target = truth()
    target[0] = False
    probabilities = np.where(target, 0.99, 0.001)
    probabilities[0, 4:8, 4:8, 4:8] = 0.99  # 0.064 ml
    assert chosen(brain(probabilities, target)).least_enhancing_ml == 0.1


def test_a_gain_within_the_margin_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    faint = np.where(truth(), 0.99, 0.001)
    faint[0, 4, 4, 4] = 0.47  # one voxel of 512
    assert chosen(brain(faint, truth())).thresholds == (0.5, 0.5, 0.5)
    monkeypatch.setattr(segmentation_choices, "MARGIN", 0.0)
    assert chosen(brain(faint, truth())).thresholds == (0.45, 0.5, 0.5)


def test_views_and_weight_are_those_that_find_the_tumour() -> None:
    target = truth()
    box = (slice(None), slice(2, 14), slice(2, 14), slice(2, 14))
    right = logit(np.where(target, 0.9, 0.1)).astype(np.float32)
    wrong = -right
    fine = {1: wrong[box], 2: wrong[box], 8: (right * np.float32(2))[box]}
    case = Brain("case", np.ones(SHAPE, bool), target, np.where(target, -2, -5).astype(np.float32), fine, box)
    views, weight = Search().network([case])
    assert views == 8 and weight == 0.5  # any weight of half or more is right


def test_temperatures_are_fitted_inside_the_brains_with_a_tumour() -> None:
    rng = np.random.default_rng(0)
    true_logits = rng.normal(-1, 2, (3, *SHAPE)).astype(np.float32)
    target = rng.uniform(0, 1, true_logits.shape) < expit(true_logits)
    inside = np.zeros(SHAPE, bool)
    inside[2:-2, 2:-2] = True
    logits = np.where(inside, 3 * true_logits, 50).astype(np.float32)
    healthy = Brain("mirrored", inside, np.zeros((3, *SHAPE), bool), np.full((3, *SHAPE), 9, np.float32), {}, None)
    temperatures, calibration = calibrate([Brain("case", inside, target, logits, {}, None), healthy], 1, 0.5)
    assert temperatures == pytest.approx((3, 3, 3), rel=0.15)
    for before, after in calibration.values():
        assert after.expected_calibration_error < before.expected_calibration_error / 2


@torch.inference_mode()
def test_what_is_chosen_by_is_what_is_released() -> None:
    torch.manual_seed(0)
    network = CoarseToFine(torch.nn.Conv3d(4, 3, 3, padding=1), torch.nn.Conv3d(4, 3, 3, padding=1))
    case = PreparedCase("case", torch.randn(4, 17, 14, 12).half(), torch.zeros(3, 17, 14, 12, dtype=torch.uint8))
    seen = see(case, network, torch.device("cpu"))
    for views in (ONE_VIEW, LEFT_RIGHT, ALL_VIEWS):
        for weight in (0.0, 0.3, 1.0):
            network.fine_weight = weight
            expected = coarse_to_fine(case.image.float(), network, fine_views=views).numpy()
            np.testing.assert_allclose(seen.logits(len(views), weight), expected, atol=1e-5)
