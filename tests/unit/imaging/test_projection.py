"""Projection onto what was measured, in two and three dimensions; Pillow's shrinking judges independently."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from acuity.degradations.functional import resize_cubic
from acuity.imaging.projection import CONSISTENT, MOST_STEPS, back_project, smallest_preimage

# Fine and measured shapes, and the ratio of their spacings: whole, broken, by axis, thick slices.
GRIDS = [
    ((32, 24), (8, 6), (0.25, 0.25)),
    ((24, 20, 18), (12, 10, 9), (0.5, 0.5, 0.5)),
    ((23, 20, 30), (10, 20, 6), (10 / 23, 1.0, 0.2)),
    ((16, 12, 36), (16, 12, 6), (1.0, 1.0, 1 / 6)),
]


def smooth(shape, seed=0, width=1.0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width)
    return torch.from_numpy((0.5 + noise / noise.std() / 6).clip(0.05, 1.2).astype(np.float32))


def pair(size, shape, ratios):
    """Functions that degrade to ``shape`` and come back from there to ``size``."""
    down = tuple(1 / r for r in ratios)
    return lambda fine: resize_cubic(fine, shape, down), lambda coarse: smallest_preimage(coarse, size, ratios)


def largest(difference):
    return float(difference.abs().max())


@pytest.mark.parametrize(("size", "shape", "ratios"), GRIDS)
def test_the_smallest_preimage_degrades_to_the_image_and_holds_nothing_else(size, shape, ratios):
    degrade, back = pair(size, shape, ratios)
    image, detail = smooth(shape), smooth(size, seed=1)
    found = back(image)
    assert found.shape == size
    torch.testing.assert_close(degrade(found), image, atol=1e-5, rtol=0)
    unseen = detail - back(degrade(detail))  # degrades to nothing: the smallest image has no part of it
    assert unseen.norm() > 0.1
    assert float((found * unseen).sum() / found.norm() / unseen.norm()) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("size", "shape", "ratios"), GRIDS)
def test_what_was_measured_comes_back_and_unseen_detail_stays(size, shape, ratios):
    degrade, back = pair(size, shape, ratios)
    truth = smooth(size)
    estimate = 0.9 * truth + 0.1
    projected, steps = back_project(estimate, degrade(truth), degrade, back)
    assert largest(degrade(estimate) - degrade(truth)) > 20 * CONSISTENT
    assert 1 <= steps < 20
    assert largest(degrade(projected) - degrade(truth)) < CONSISTENT
    # Each step is towards every consistent image, the truth among them.
    assert (projected - truth).norm() < (estimate - truth).norm()


def test_pillow_finds_the_measured_slice_again():
    truth = smooth((48, 40))
    degrade, back = pair((48, 40), (24, 20), (0.5, 0.5))
    projected, _ = back_project(truth + 0.1, degrade(truth), degrade, back)
    again = [np.asarray(Image.fromarray(x.numpy()).resize((20, 24), Image.Resampling.BICUBIC))
             for x in (projected, truth)]  # fmt: skip
    inner = (slice(2, -2),) * 2  # it renormalises at the border, where ours repeats the image
    assert np.abs(again[0] - again[1])[inner].max() < 1.5 * CONSISTENT


@pytest.mark.parametrize("seed", range(3))
def test_an_edge_to_nothing_is_held_and_nothing_becomes_negative(seed):
    """A skull-stripped brain: its low resolution undershoots outside."""
    truth = smooth((24, 20, 16), seed)
    truth[:9] = 0
    degrade, back = pair((24, 20, 16), (12, 10, 8), (0.5, 0.5, 0.5))
    lr = degrade(truth)
    assert lr.min() < -0.01
    blurred = torch.from_numpy(ndimage.gaussian_filter(truth.numpy(), 1))
    projected, steps = back_project(blurred, lr, degrade, back)
    assert projected.min() >= 0
    assert largest(degrade(projected) - lr) < CONSISTENT
    _, cubic_steps = back_project(blurred, lr, degrade, lambda d: resize_cubic(d, (24, 20, 16), (0.5, 0.5, 0.5)))
    assert 3 < steps < cubic_steps < MOST_STEPS


def test_the_tolerance_is_what_was_asked_for():
    degrade, back = pair(*GRIDS[1])
    truth = smooth(GRIDS[1][0])
    truth[:9] = 0
    steps = []
    for tolerance in (1e-2, 1e-3, 1e-4):
        projected, needed = back_project(truth + 0.1, degrade(truth), degrade, back, tolerance=tolerance)
        assert largest(degrade(projected) - degrade(truth)) < tolerance
        steps.append(needed)
    assert steps[0] < steps[1] < steps[2]


def test_what_is_consistent_is_left_alone():
    degrade, back = pair(*GRIDS[1])
    truth = smooth(GRIDS[1][0])
    projected, steps = back_project(truth, degrade(truth), degrade, back)
    assert steps == 0
    torch.testing.assert_close(projected, truth, atol=0, rtol=0)


def test_projection_that_cannot_succeed_ends_no_worse_than_it_began():
    """No image at least 0 degrades to negative values."""
    degrade, back = pair(*GRIDS[0])
    image, lr = smooth(GRIDS[0][0]), torch.full(GRIDS[0][1], -0.5)
    projected, steps = back_project(image, lr, degrade, back)
    assert steps <= MOST_STEPS
    assert largest(degrade(projected) - lr) <= largest(degrade(image) - lr)
