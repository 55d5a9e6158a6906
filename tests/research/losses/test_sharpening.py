"""Real-ESRGAN's sharpened targets against scikit-image and scipy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from skimage import data, filters

from acuity.research.losses.sharpening import unsharp_mask


@pytest.fixture(scope="module")
def camera():
    return (data.camera()[100:228, 200:360] / 255).astype(np.float32)


def sharpened(image, **arguments):
    return unsharp_mask(torch.from_numpy(image)[None, None], **arguments)[0, 0].numpy()


def test_without_a_threshold_it_is_plain_unsharp_masking(camera):
    """51 taps and sigma 8, as OpenCV's getGaussianKernel(51, 0); scikit-image truncates its Gaussian further out."""
    theirs = filters.unsharp_mask(camera, radius=8.0, amount=0.5)
    inside = (slice(33, -33),) * 2
    np.testing.assert_allclose(sharpened(camera, threshold=-1.0)[inside], theirs[inside], atol=3e-3)


def test_the_mask_is_blurred(camera):
    taps = np.exp(-0.5 * (np.arange(-25, 26) / 8.0) ** 2)
    taps /= taps.sum()

    def blur(image):
        return correlate1d(correlate1d(image, taps, axis=0, mode="mirror"), taps, axis=1, mode="mirror")

    residual = camera.astype(np.float64) - blur(camera.astype(np.float64))
    mask = blur((np.abs(residual) * 255 > 10).astype(np.float64))
    expected = mask * np.clip(camera + 0.5 * residual, 0, 1) + (1 - mask) * camera
    np.testing.assert_allclose(sharpened(camera), expected, atol=1e-4)


def test_a_flat_image_and_faint_noise_stay(camera):
    flat = 0.5 + 0.01 * np.random.default_rng(0).uniform(-1, 1, camera.shape).astype(np.float32)
    np.testing.assert_array_equal(sharpened(flat), flat)


def test_edges_become_steeper_within_the_range(camera):
    edge = np.full((64, 64), 0.3, dtype=np.float32)
    edge[:, 32:] = 0.7
    result = sharpened(edge)
    assert result[32, 33] > 0.75 and result[32, 30] < 0.25
    assert sharpened(camera).min() >= 0 and sharpened(camera).max() <= 1
