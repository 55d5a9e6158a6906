"""Acquisitions: every member of the family keeps its place and its brightness, and noise is Rician."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from acuity.imaging.forward_model import resize_cubic
from acuity.imaging.point_spread import KINDS, PointSpread
from acuity.research.degradations.acquisition import LARGEST_NOISE, Acquisition, draw_acquisition

BOX = (PointSpread("box"),) * 3


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_what_is_drawn_keeps_place_and_brightness(seed: int) -> None:
    acquisition = draw_acquisition(np.random.default_rng(seed))
    noise = np.random.default_rng(0).random((48, 40, 36))
    volume = torch.from_numpy(0.4 + 3 * (gaussian_filter(noise, 6) - 0.5)).float()
    low = acquisition(volume, seed)
    assert tuple(low.shape) == tuple(int(n / r + 1e-6) for n, r in zip(volume.shape, acquisition.ratios, strict=True))
    assert low.min() >= 0
    again = resize_cubic(low, tuple(volume.shape), tuple(1 / r for r in acquisition.ratios))
    inner = (slice(10, -12),) * 3
    assert float((again - volume)[inner].abs().mean()) < 0.02 + acquisition.noise


def test_the_family_has_all_kinds_grids_and_troubles() -> None:
    drawn = [draw_acquisition(np.random.default_rng(seed)) for seed in range(400)]
    assert {spread.kind for acquisition in drawn for spread in acquisition.spreads} == set(KINDS)
    assert np.mean([acquisition.ratios == (2.0, 2.0, 2.0) for acquisition in drawn]) == pytest.approx(0.5, abs=0.1)
    assert any(acquisition.ratios[2] > 5 and acquisition.ratios[0] == 1 for acquisition in drawn)
    assert any(acquisition.skipped for acquisition in drawn)
    assert 0 < max(acquisition.noise for acquisition in drawn) <= LARGEST_NOISE
    widths = [acquisition.spreads[2].width for acquisition in drawn if acquisition.spreads[2].kind == "box"]
    assert min(widths) < 0.85 < 1.1 < max(widths)  # gaps and overlap


def test_noise_is_rician_where_there_is_signal_and_nothing_outside() -> None:
    volume = torch.zeros(40, 40, 40)
    volume[:20] = 0.05
    found = Acquisition((1.0, 1.0, 1.0), BOX, noise=0.03)(volume, 1)
    assert not found[20:].any()
    normal = np.random.default_rng(2).normal(size=(2, 100_000)) * 0.03
    expected = np.hypot(0.05 + normal[0], normal[1])
    assert float(found[:20].mean()) == pytest.approx(expected.mean(), rel=0.02)
    assert float(found[:20].std()) == pytest.approx(expected.std(), rel=0.05)
