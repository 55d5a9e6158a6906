"""Denoising a phantom whose truth is known; scikit-image's phantom, numpy's noise and Fourier transform judge."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import shepp_logan_phantom
from skimage.transform import resize

from acuity.imaging.denoising import NEGLIGIBLE, denoise, noise_level, nyquist_energy

SIGMA = 0.03


@pytest.fixture(scope="module")
def truth():
    """The Shepp-Logan head, 96 x 96, 0 to 1, with soft edges and exact zeros round it."""
    return resize(shepp_logan_phantom(), (96, 96), anti_aliasing=True).astype(np.float32)


@pytest.fixture(scope="module")
def noisy(truth):
    """Rician noise inside the head."""
    rng = np.random.default_rng(0)
    real, imaginary = (SIGMA * rng.standard_normal(truth.shape) for _ in range(2))
    return (np.hypot(truth + real, imaginary) * (truth > 0)).astype(np.float32)


def checkerboard(shape):
    return 1 - 2 * (np.indices(shape).sum(axis=0) % 2)


def rmse(image, truth):
    return float(np.sqrt(((image - truth)[truth > 0] ** 2).mean()))


def test_noise_goes_down_and_the_background_stays_exactly_zero(noisy, truth):
    result = denoise(noisy)
    assert result.dtype == np.float32 and result.shape == truth.shape
    assert rmse(result, truth) < 0.6 * rmse(noisy, truth)
    assert (result[truth == 0] == 0).all() and result.min() == 0


def test_an_image_without_noise_stays_as_it_is(truth):
    assert rmse(denoise(truth), truth) < 1e-3
    faint = truth * (1 + 0.3 * NEGLIGIBLE * checkerboard(truth.shape))
    np.testing.assert_array_equal(denoise(faint), faint.astype(np.float32))
    np.testing.assert_array_equal(denoise(np.zeros((16, 16))), 0)


@pytest.mark.parametrize("sigma", [0.01, 0.02, 0.04])
def test_the_level_is_the_noises_own(truth, sigma):
    """Gaussian noise on a smooth head; the zeros round it do not count."""
    rng = np.random.default_rng(1)
    smooth = np.where(truth > 0, 0.6, 0.0)
    image = np.where(truth > 0, smooth + sigma * rng.standard_normal(truth.shape), 0.0)
    assert noise_level(image) == pytest.approx(sigma, rel=0.1)
    assert noise_level(1000 * image) == pytest.approx(1000 * sigma, rel=0.1)


def test_the_bias_of_rician_noise_is_taken_off():
    """A dim, even region: the mean magnitude lies above the truth, by about sigma^2 / 2A."""
    rng = np.random.default_rng(2)
    signal, sigma = 0.15, 0.06
    image = np.full((96, 96), 1.0)
    image[8:88, 8:88] = np.hypot(signal + sigma * rng.standard_normal((80, 80)), sigma * rng.standard_normal((80, 80)))
    inside = (slice(16, 80),) * 2
    before = image[inside].mean() - signal
    assert before > 0.01
    assert abs(denoise(image, sigma)[inside].mean() - signal) < 0.2 * before


@pytest.mark.parametrize("pattern", ["checkerboard", "stripes"])
def test_a_checkerboard_goes_down(truth, pattern):
    """By its energy at the Nyquist frequency over what the anatomy has there, and without harm to the anatomy."""
    board = checkerboard(truth.shape)
    board = board if pattern == "checkerboard" else np.broadcast_to(board[:1], board.shape)
    image = np.maximum(truth + 0.03 * board * (truth > 0.1), 0)
    result = denoise(image)
    own = nyquist_energy(truth)
    assert nyquist_energy(result) - own < 0.3 * (nyquist_energy(image) - own)
    assert rmse(result, truth) < 0.8 * rmse(image, truth)


def test_the_nyquist_energy_of_a_known_pattern():
    smooth = np.cos(2 * np.pi * np.arange(64) / 8)[:, None] * np.ones(64)
    assert nyquist_energy(smooth) == pytest.approx(0, abs=1e-12)
    for board in (checkerboard((64, 64)), checkerboard((1, 64)) * np.ones((64, 1))):
        assert nyquist_energy(smooth + 0.1 * board) == pytest.approx(0.01)


def test_a_checkerboard_counts_as_the_noise_that_separates_patches_as_much():
    """Amplitude a: two patches out of phase differ by (2a)^2, noisy ones by twice their variance."""
    image = 0.5 + 0.02 * checkerboard((64, 64))
    assert noise_level(image) == pytest.approx(0.02 * np.sqrt(2), rel=0.01)


def test_a_volume_is_its_slices_with_one_level(noisy):
    volume = np.stack([noisy, 0.5 * noisy], axis=2)
    level = noise_level(volume)
    assert 0.4 * SIGMA < level < 1.1 * SIGMA
    expected = np.stack([denoise(volume[..., k], level) for k in range(2)], axis=2)
    np.testing.assert_array_equal(denoise(volume), expected)


@pytest.mark.parametrize("image", [np.ones(5), np.ones((2, 2, 2, 2)), np.full((8, 8), np.nan)])
def test_what_is_no_slice_or_volume_is_refused(image):
    with pytest.raises(ValueError, match="it must be"):
        denoise(image)
