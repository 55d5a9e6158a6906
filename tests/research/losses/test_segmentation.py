"""Losses by region: against their formulas in numpy, and in the direction that they should point."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from acuity.research.losses.segmentation import (
    cross_entropy_loss,
    dice_cross_entropy_loss,
    dice_loss,
    jaccard_loss,
)

LOSSES = (dice_loss, jaccard_loss, cross_entropy_loss, dice_cross_entropy_loss)


@pytest.fixture(params=[(5, 6), (4, 5, 6)], ids=["2D", "3D"])
def example(request):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, *request.param))
    target = rng.random((2, 3, *request.param)) < 0.3
    return torch.from_numpy(logits).float(), torch.from_numpy(target).float()


def sums(logits, target):
    """Of p g and of p^2 + g^2 for each region over the batch."""
    p, g = 1 / (1 + np.exp(-logits.numpy().astype(np.float64))), target.numpy().astype(np.float64)
    axes = (0, *range(2, p.ndim))
    return (p * g).sum(axis=axes), (p**2 + g**2).sum(axis=axes)


def test_overlap_is_by_its_formula(example):
    both, squares = sums(*example)
    assert dice_loss(*example).item() == pytest.approx((1 - (2 * both + 1) / (squares + 1)).mean(), abs=1e-5)
    union = squares - both
    assert jaccard_loss(*example).item() == pytest.approx((1 - (both + 0.5) / (union + 0.5)).mean(), abs=1e-5)


def test_cross_entropy_is_scikit_learns(example):
    logits, target = example
    wanted = log_loss(target.ravel().numpy(), torch.sigmoid(logits).ravel().numpy())
    assert cross_entropy_loss(logits, target).item() == pytest.approx(wanted, rel=1e-4)
    assert dice_cross_entropy_loss(logits, target).item() == pytest.approx(
        (dice_loss(logits, target) + cross_entropy_loss(logits, target)).item()
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_the_better_prediction_costs_less(loss, example):
    _, target = example
    truth = 12 * (2 * target - 1)
    costs = [loss(logits, target).item() for logits in (truth, 0.1 * truth, torch.zeros_like(truth), -truth)]
    assert costs == sorted(costs)
    assert costs[0] < 0.01
    assert len(set(costs)) == 4


@pytest.mark.parametrize("loss", LOSSES)
def test_a_region_that_is_not_there_costs_nothing_where_it_is_not_found(loss):
    target = torch.zeros(1, 3, 4, 4, 4)
    nothing = torch.full_like(target, -12.0)
    false = nothing.clone()
    false[0, 0, :2] = 12
    assert loss(nothing, target).item() == pytest.approx(0, abs=1e-3)
    assert loss(false, target).item() > 0.1


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_point_to_the_truth(loss, example):
    logits, target = example
    logits.requires_grad_()
    loss(logits, target).backward()
    assert (logits.grad[target == 1] < 0).all()
    assert logits.grad[target == 0].sum() > 0
