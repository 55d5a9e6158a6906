"""The blur of a volume from itself, the share of a network that it supports, and consistency as far as doubt allows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from acuity.imaging.blur import FAMILY, PROFILES, AxisBlur, estimate_blur
from acuity.imaging.consistency import degraded, pulled, supported_share
from acuity.imaging.forward_model import resize_axes, resize_cubic
from acuity.imaging.point_spread import PointSpread

HALF = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def truth() -> Tensor:
    """Ellipsoids of many sizes and gray values in a head, as piecewise smooth as anatomy: (80, 72, 64)."""
    rng = np.random.default_rng(5)
    shape = (80, 72, 64)
    grid = np.stack(np.meshgrid(*(np.arange(n) - n / 2 for n in shape), indexing="ij"), -1)
    inside = ((grid / (np.array(shape) * 0.42)) ** 2).sum(-1)
    image = np.where(inside < 1, 0.5, 0.0)
    for _ in range(160):
        center, axes = rng.uniform(-0.35, 0.35, 3) * shape, rng.uniform(1.5, 9, 3)
        image[(((grid - center) / axes) ** 2).sum(-1) < 1] = rng.uniform(0.2, 1.0)
    image[inside >= 1] = 0
    return torch.from_numpy(ndimage.gaussian_filter(image, 0.4).astype(np.float32))


def measured(truth: Tensor, *spreads: PointSpread) -> Tensor:
    size = tuple(n // 2 for n in truth.shape)
    return resize_axes(truth, size, (2.0, 2.0, 2.0), [s.matrix for s in spreads]).abs()


def interpolated(low: Tensor, truth: Tensor) -> Tensor:
    return resize_cubic(low, tuple(truth.shape), HALF).clamp_min(0)


def certain(spread: PointSpread) -> AxisBlur:
    return AxisBlur(np.array([float(member == spread) for member in FAMILY]))


def error(image: Tensor, truth: Tensor) -> float:
    return float((image - truth).square().mean())


@pytest.mark.parametrize(
    "spread",
    [
        PointSpread("gaussian", 0.6),
        PointSpread("gaussian", 1.0),
        PointSpread("gaussian", 1.4),
        PointSpread("hann"),
        PointSpread("hamming"),
        PointSpread("box"),
        PointSpread("kspace"),
    ],
    ids=str,
)
def test_the_width_of_the_blur_is_found_within_its_doubt(truth: Tensor, spread: PointSpread) -> None:
    low = measured(truth, spread, spread, spread)
    for blur in estimate_blur(low, interpolated(low, truth), HALF):
        assert blur is not None
        width, doubt = blur.full_width()
        assert width == pytest.approx(spread.full_width(), abs=max(0.35, 2 * doubt))
        assert 0 < blur.describe()["probability"] <= 1


def test_axes_are_told_apart_and_an_axis_that_keeps_its_spacing_has_none(truth: Tensor) -> None:
    low = measured(truth, PointSpread("kspace"), PointSpread("hann"), PointSpread("gaussian", 0.6))
    widths = [blur.full_width()[0] for blur in estimate_blur(low, interpolated(low, truth), HALF) if blur]
    assert widths[1] > max(widths[0], widths[2]) + 0.3
    thick = resize_axes(truth, (80, 72, 16), (1.0, 1.0, 4.0), [PointSpread("box").matrix] * 3)
    found = estimate_blur(thick, resize_cubic(thick, (80, 72, 64), (1.0, 1.0, 0.25)), (1.0, 1.0, 0.25), profile_axis=2)
    assert found[:2] == (None, None)
    assert found[2] is not None
    assert {spread for _, spread in found[2].members} <= PROFILES


def test_too_few_samples_leave_every_blur_possible() -> None:
    low = torch.rand(6, 6, 6)
    found = estimate_blur(low, resize_cubic(low, (12, 12, 12), HALF), HALF)
    for blur in found:
        assert blur is not None and blur.full_width()[1] > 0.15 and len(blur.members) > 10


def test_a_network_that_adds_too_much_or_nothing_true_gets_a_smaller_share(truth: Tensor) -> None:
    spread = PointSpread("gaussian", 0.6)
    low, blurs = measured(truth, spread, spread, spread), [certain(spread)] * 3
    plain = interpolated(low, truth)
    shares = [
        supported_share(plain + factor * (truth - plain), plain, low, HALF, blurs) for factor in (0.5, 1, 2, 4, -1)
    ]
    assert shares == pytest.approx([1, 1, 0.5, 0.25, 0], abs=0.03)
    assert supported_share(plain, plain, low, HALF, blurs) == 1  # nothing was added
    assert supported_share(1.2 * plain, plain, low, HALF, blurs) < 0.2  # a brightness that nobody measured


@pytest.mark.parametrize("spread", [PointSpread("gaussian", 1.0), PointSpread("hann"), PointSpread("box")], ids=str)
def test_a_known_blur_is_undone_and_a_doubtful_one_hardly_used(truth: Tensor, spread: PointSpread) -> None:
    low = measured(truth, spread, spread, spread)
    plain = interpolated(low, truth)
    known = [certain(spread)] * 3
    doubtful = [AxisBlur(np.full(len(FAMILY), 1 / len(FAMILY)))] * 3
    results = {name: pulled(plain, low, HALF, blurs) for name, blurs in (("known", known), ("doubtful", doubtful))}
    assert error(results["known"], truth) < 0.92 * error(plain, truth)
    assert error(results["doubtful"], truth) < 1.02 * error(plain, truth)
    residual = degraded(results["known"], tuple(low.shape), HALF, known) - low
    before = degraded(plain, tuple(low.shape), HALF, known) - low
    assert residual.square().mean() < 0.3 * before.square().mean()
    assert all(result.min() >= 0 for result in results.values())


def test_what_is_consistent_already_stays(truth: Tensor) -> None:
    spread = PointSpread("gaussian", 1.0)
    low = measured(truth, spread, spread, spread)
    torch.testing.assert_close(pulled(truth, low, HALF, [certain(spread)] * 3), truth, atol=3e-3, rtol=0)
