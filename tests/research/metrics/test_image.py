"""Image quality against independent implementations."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import PSNRMetric, SSIMMetric
from scipy import ndimage, stats
from skimage import data
from skimage.color import rgb2gray

from acuity.errors import DataError
from acuity.imaging.forward_model import downsample_cubic
from acuity.research.metrics.image import (
    asymmetric_generalized_gaussian,
    data_consistency,
    fit_niqe,
    mean_squared_error,
    niqe,
    peak_signal_noise_ratio,
    structural_similarity,
)


@pytest.fixture(scope="module")
def camera():
    return data.camera()[::2, ::2] / 255.0


@pytest.fixture(scope="module")
def noisy(camera):
    return np.clip(camera + 0.05 * np.random.default_rng(0).standard_normal(camera.shape), 0, 1)


@pytest.fixture(scope="module")
def photographs():
    gray = [getattr(data, name)() / 255.0 for name in ("brick", "coins", "moon")]
    return gray + [rgb2gray(getattr(data, name)()) for name in ("coffee", "chelsea")]


@pytest.fixture(scope="module")
def model(photographs):
    return fit_niqe(photographs, data_range=1.0, patch_size=64)


def tensors(*images):
    return [torch.from_numpy(image)[None, None] for image in images]


@pytest.mark.parametrize("data_range", [1.0, 255.0, 4095.0])
def test_the_error_is_in_gray_levels_whatever_the_range(camera, noisy, data_range):
    expected = np.mean((camera * 255 - noisy * 255) ** 2)
    found = mean_squared_error(noisy * data_range, camera * data_range, data_range=data_range)
    assert found == pytest.approx(expected)


def test_the_papers_error_and_psnr_belong_together():
    """Published are MSE 228.00 and PSNR 25.94 dB. A mean of PSNRs is above the PSNR of the mean error, 24.55 dB."""
    target = np.zeros((16, 16))
    preds = np.full((16, 16), math.sqrt(228.0))
    assert mean_squared_error(preds, target, data_range=255) == pytest.approx(228.0)
    assert peak_signal_noise_ratio(preds, target, data_range=255) == pytest.approx(24.551, abs=1e-3)


def test_psnr_agrees_with_monai(camera, noisy):
    theirs = PSNRMetric(max_val=1.0)(*tensors(noisy, camera)).item()
    assert peak_signal_noise_ratio(noisy, camera, data_range=1.0) == pytest.approx(theirs, abs=1e-4)


def test_ssim_agrees_with_monai(camera, noisy):
    """MONAI's default is the same window: Gaussian, 11x11, sigma 1.5, whole windows only."""
    theirs = SSIMMetric(spatial_dims=2, data_range=1.0)(*tensors(noisy, camera)).item()
    assert structural_similarity(noisy, camera, data_range=1.0) == pytest.approx(theirs, abs=1e-4)


def test_an_image_agrees_with_itself(camera):
    assert mean_squared_error(camera, camera, data_range=1.0) == 0
    assert peak_signal_noise_ratio(camera, camera, data_range=1.0) == math.inf
    assert structural_similarity(camera, camera, data_range=1.0) == pytest.approx(1)


def test_more_blur_is_never_better(camera):
    blurs = [ndimage.gaussian_filter(camera, sigma) for sigma in (0.5, 1, 2, 4)]
    for metric in (peak_signal_noise_ratio, structural_similarity):
        values = [metric(blur, camera, data_range=1.0) for blur in blurs]
        assert values == sorted(values, reverse=True)


def test_a_wider_range_means_less_of_an_error(camera, noisy):
    assert peak_signal_noise_ratio(noisy, camera, data_range=2.0) == pytest.approx(
        peak_signal_noise_ratio(noisy, camera, data_range=1.0) + 20 * math.log10(2)
    )


def shrink(image):
    return downsample_cubic(image, (4, 4))


def test_the_truth_is_consistent_and_an_offset_is_measured(camera):
    lr = shrink(camera)
    assert data_consistency(camera, lr, shrink, data_range=1.0) == (0, 0)
    found = data_consistency(camera * 255 + 2.55, lr * 255, shrink, data_range=255.0)
    assert found == pytest.approx((0.01, 0.01), abs=1e-5)


def test_one_wrong_spot_shows_in_the_maximum_more_than_in_the_mean(camera):
    sr = camera.copy()
    sr[40:48, 40:48] += 0.5
    maximum, rms = data_consistency(sr, shrink(camera), shrink, data_range=1.0)
    assert maximum == pytest.approx(0.5, abs=0.1)
    assert rms < 0.05


@pytest.mark.parametrize("shape", [0.6, 1.0, 2.0, 4.0])
def test_moment_matching_finds_the_shape_that_was_drawn(shape):
    """2 is a normal distribution of scale sqrt(2) sigma, 1 is Laplace's."""
    samples = stats.gennorm(shape, scale=1.5).rvs((3, 40000), random_state=0)
    found, left, right = asymmetric_generalized_gaussian(samples)
    np.testing.assert_allclose(found, shape, rtol=0.1)
    np.testing.assert_allclose(left, 1.5, rtol=0.05)
    np.testing.assert_allclose(right, 1.5, rtol=0.05)


def test_moment_matching_tells_left_from_right():
    rng = np.random.default_rng(0)
    # The sides of such a density are as probable as they are wide.
    side = np.where(rng.random((1, 60000)) < 0.25, -1.0, 3.0)
    shape, left, right = asymmetric_generalized_gaussian(side * np.abs(rng.standard_normal((1, 60000))))
    np.testing.assert_allclose(shape, 2.0, rtol=0.05)
    np.testing.assert_allclose(right / left, 3.0, rtol=0.05)


def test_blur_and_noise_look_less_natural_the_stronger_they_are(model):
    camera = data.camera() / 255.0
    noise = np.random.default_rng(0).standard_normal(camera.shape)
    blurred = [niqe(ndimage.gaussian_filter(camera, s), model, data_range=1.0) for s in (0, 1.5, 3)]
    noisier = [niqe(camera + s * noise, model, data_range=1.0) for s in (0, 0.05, 0.15)]
    for values in (blurred, noisier):
        assert values == sorted(values)
        assert values[-1] > 1.5 * values[0]


def test_niqe_does_not_depend_on_the_unit(model, photographs):
    image = photographs[0]
    assert niqe(image * 4095, model, data_range=4095.0) == pytest.approx(niqe(image, model, data_range=1.0))


def test_background_of_a_stripped_head_does_not_count(model):
    """Rows of patches below the image that are a quarter noise are left out; whole ones of noise are not."""
    camera = data.camera()[:256, :256] / 255.0 + 1 / 255
    noise = np.random.default_rng(0).random((64, 256))
    partly = np.where(np.arange(64)[:, None] < 48, 0.0, noise)
    empty, with_partly, with_noise = (
        niqe(np.concatenate([camera, rows]), model, data_range=1.0) for rows in (0 * noise, partly, noise)
    )
    assert with_partly == pytest.approx(empty)
    assert abs(with_noise / empty - 1) > 0.05


def test_what_niqe_cannot_use_is_said(model, photographs):
    with pytest.raises(DataError, match="60x64 holds 0 patches of 64 pixels.*smaller patches"):
        niqe(photographs[0][:60, :64], model, data_range=1.0)
    with pytest.raises(DataError, match="1 images hold .* sharp patches of 128 pixels.*more than 36"):
        fit_niqe(photographs[:1], data_range=1.0, patch_size=128)
    with pytest.raises(DataError, match="1 images hold 0 sharp patches"):
        fit_niqe([np.zeros((128, 128))], data_range=1.0, patch_size=32)
    with pytest.raises(ValueError, match="patch_size is 33"):
        fit_niqe(photographs, data_range=1.0, patch_size=33)
