"""Noise has the statistics that physics gives it."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from skimage import data

from acuity.research.degradations.noise import gaussian_noise, jpeg, poisson_noise, rician_noise

FLAT = torch.full((2, 1, 128, 128), 0.5)


def test_gaussian_noise_has_its_standard_deviation_and_stays_in_range():
    noise = gaussian_noise(FLAT, 0.05, seed=1) - FLAT
    assert noise.std().item() == pytest.approx(0.05, rel=0.03)
    assert noise.mean().item() == pytest.approx(0, abs=1e-3)
    strong = gaussian_noise(FLAT, 1.0, seed=1)
    assert strong.min() == 0 and strong.max() == 1


@pytest.mark.parametrize("add", [gaussian_noise, rician_noise, poisson_noise])
def test_a_seed_reproduces_and_images_of_a_batch_differ(add):
    first, again, other = (add(FLAT, 0.1, seed=seed) for seed in (3, 3, 4))
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert first.dtype == torch.float32


def test_rician_noise_in_air_is_rayleighs():
    """Mean sigma sqrt(pi / 2), standard deviation sigma sqrt(2 - pi / 2)."""
    air = rician_noise(torch.zeros_like(FLAT), 0.02, seed=0)
    assert air.mean().item() == pytest.approx(0.02 * math.sqrt(math.pi / 2), rel=0.01)
    assert air.std().item() == pytest.approx(0.02 * math.sqrt(2 - math.pi / 2), rel=0.02)
    assert air.min() >= 0


@pytest.mark.parametrize("signal", [0.02, 0.05, 0.5])
def test_rician_noise_follows_the_distribution_of_its_name(signal):
    sample = rician_noise(torch.full((1, 1, 64, 64), signal), 0.02, seed=0).numpy().ravel()
    assert stats.kstest(sample, stats.rice(signal / 0.02, scale=0.02).cdf).pvalue > 0.01


def test_poisson_noise_grows_with_the_signal():
    """Two gray levels give two counts at intensity 1, so that the variance is intensity / 2."""
    image = torch.tensor([0.2, 0.6]).repeat(2, 1, 128, 64)
    noise = poisson_noise(image, 0.05, seed=0) - image
    for column, intensity in ((0, 0.2), (1, 0.6)):
        assert noise[..., column::2].std().item() == pytest.approx(0.05 * math.sqrt(intensity / 2), rel=0.05)


def test_poisson_noise_counts_the_gray_levels_of_each_image_by_itself():
    """An image of 256 levels is a brighter exposure than one of two: less noise."""
    ramp = torch.linspace(0, 1, 256).repeat(64, 1)[None, None]
    both = torch.cat([ramp, (ramp > 0.5).float() * 0.5])
    noise = (poisson_noise(both, 0.2, seed=0) - both).abs().mean(dim=(1, 2, 3))
    assert noise[1] > 3 * noise[0]


@pytest.mark.parametrize("quality", [30, 95])
def test_jpeg_is_pillows(quality):
    camera = data.camera()[::4, ::4]
    buffer = io.BytesIO()
    Image.fromarray(camera).save(buffer, "JPEG", quality=quality)
    ours = jpeg(torch.from_numpy(camera / 255.0).float()[None, None], quality)
    np.testing.assert_array_equal((ours[0, 0] * 255).round().numpy(), np.asarray(Image.open(buffer)))


def test_less_quality_is_further_off():
    image = torch.from_numpy(data.camera()[::4, ::4] / 255.0).float()[None, None]
    errors = [(jpeg(image, q) - image).square().mean().item() for q in (95, 60, 30)]
    assert errors == sorted(errors)
