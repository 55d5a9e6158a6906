"""Projection onto what was measured, in two and three dimensions; Pillow's shrinking judges independently."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from acuity.imaging.forward_model import box_matrix, resize_axes, resize_cubic, resize_matrix
from acuity.imaging.projection import CONSISTENT, MOST_STEPS, back_project

CUBIC, BOX = resize_matrix, box_matrix

# Fine and measured shapes, the ratio of their spacings and what shrinks: whole, broken, by axis, thick slices.
GRIDS = [
    ((32, 24), (8, 6), (0.25, 0.25), (CUBIC,) * 2),
    ((24, 20, 18), (12, 10, 9), (0.5, 0.5, 0.5), (CUBIC,) * 3),
    ((23, 20, 30), (10, 20, 6), (10 / 23, 1.0, 0.2), (CUBIC,) * 3),
    ((16, 12, 36), (16, 12, 6), (1.0, 1.0, 1 / 6), (CUBIC,) * 3),
    ((16, 12, 36), (16, 12, 6), (1.0, 1.0, 1 / 6), (CUBIC, CUBIC, BOX)),
    ((23, 20, 18), (10, 10, 9), (10 / 23, 0.5, 0.5), (BOX, CUBIC, CUBIC)),
]


def smooth(shape, seed=0, width=1.0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width)
    return torch.from_numpy((0.5 + noise / noise.std() / 6).clip(0.05, 1.2).astype(np.float32))


def smallest_preimage(coarse, size, ratios, matrices):
    """The smallest image that degrades to ``coarse``: with it each step is an orthogonal projection."""
    inverses = [partial(inverse, shrinking) for shrinking in matrices]
    return resize_axes(coarse, size, ratios, inverses)


def inverse(shrinking, size_in, size_out, ratio):
    return torch.linalg.pinv(shrinking(size_out, size_in, 1 / ratio).double(), rtol=1e-3).float()


def pair(size, shape, ratios, matrices):
    """Functions that degrade to ``shape`` and come back from there to ``size``."""
    down = tuple(1 / r for r in ratios)
    return (
        lambda fine: resize_axes(fine, shape, down, matrices),
        lambda coarse: smallest_preimage(coarse, size, ratios, matrices),
    )


def largest(difference):
    return float(difference.abs().max())


@pytest.mark.parametrize(("size", "shape", "ratios", "matrices"), GRIDS)
def test_what_was_measured_comes_back_and_unseen_detail_stays(size, shape, ratios, matrices):
    degrade, back = pair(size, shape, ratios, matrices)
    truth = smooth(size)
    estimate = 0.9 * truth + 0.1
    projected, steps = back_project(estimate, degrade(truth), degrade, back)
    assert largest(degrade(estimate) - degrade(truth)) > 20 * CONSISTENT
    assert 1 <= steps < 20
    assert largest(degrade(projected) - degrade(truth)) < CONSISTENT
    # Each step is toward every consistent image, the truth among them.
    assert (projected - truth).norm() < (estimate - truth).norm()


def test_pillow_finds_the_measured_slice_again():
    truth = smooth((48, 40))
    degrade, back = pair((48, 40), (24, 20), (0.5, 0.5), (CUBIC, CUBIC))
    projected, _ = back_project(truth + 0.1, degrade(truth), degrade, back)
    again = [
        np.asarray(Image.fromarray(x.numpy()).resize((20, 24), Image.Resampling.BICUBIC)) for x in (projected, truth)
    ]
    inner = (slice(2, -2),) * 2  # it renormalizes at the border, where ours repeats the image
    assert np.abs(again[0] - again[1])[inner].max() < 1.5 * CONSISTENT


@pytest.mark.parametrize("seed", range(3))
def test_an_edge_to_nothing_is_held_and_nothing_becomes_negative(seed):
    """A skull-stripped brain: its low resolution undershoots outside."""
    truth = smooth((24, 20, 16), seed)
    truth[:9] = 0
    degrade, back = pair((24, 20, 16), (12, 10, 8), (0.5, 0.5, 0.5), (CUBIC,) * 3)
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


def test_what_is_consistent_is_left_alone_and_what_cannot_be_ends_no_worse():
    degrade, back = pair(*GRIDS[0])
    truth = smooth(GRIDS[0][0])
    projected, steps = back_project(truth, degrade(truth), degrade, back)
    assert steps == 0
    torch.testing.assert_close(projected, truth, atol=0, rtol=0)
    lr = torch.full(GRIDS[0][1], -0.5)  # no image at least 0 degrades to it
    projected, steps = back_project(truth, lr, degrade, back)
    assert steps <= MOST_STEPS
    assert largest(degrade(projected) - lr) <= largest(degrade(truth) - lr)


def test_means_are_put_right_by_adding_what_is_missing_to_each_sample():
    """Of all images with given means the nearest differs by one number in each box: NumPy's, in a single step."""
    degrade, back = pair((6, 20), (6, 4), (1.0, 0.2), (CUBIC, BOX))
    image, lr = 1 + smooth((6, 20)), 1 + smooth((6, 4), seed=1)
    projected, steps = back_project(image, lr, degrade, back)
    boxes = image.numpy().reshape(6, 4, 5)
    expected = boxes + (lr.numpy() - boxes.mean(axis=-1))[..., None]
    assert expected.min() > 0 and steps == 1
    np.testing.assert_allclose(projected, expected.reshape(6, 20), atol=1e-5)
