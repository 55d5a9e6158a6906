"""Blur kernels have the widths they were asked for, and blurring is convolution."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from acuity.research.degradations.kernels import blur, gaussian_kernel, sinc_kernel

KERNELS = [
    gaussian_kernel(21, (2.0, 1.0), 0.7),
    gaussian_kernel(13, (1.5, 1.5), shape="generalized", beta=0.6),
    gaussian_kernel(7, (2.0, 0.3), -1.0, shape="plateau", beta=1.7),
    gaussian_kernel(25, (1.2, 1.2), shift=-1.5),
    gaussian_kernel(9, (0.0, 0.0)),
    sinc_kernel(21, 1.9),
]


def moments(kernel):
    """Center (row, column) from the middle and covariance of a kernel read as a distribution."""
    steps = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    weights, points = kernel.double().numpy().ravel(), np.stack(np.meshgrid(steps, steps, indexing="ij"), -1)
    points = points.reshape(-1, 2).astype(float)
    center = weights @ points
    return center, np.einsum("n,ni,nj->ij", weights, points - center, points - center)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_keeps_the_mean(kernel):
    assert kernel.sum().item() == pytest.approx(1, abs=1e-5)


def test_an_anisotropic_gaussian_has_the_drawn_widths_and_direction():
    angle = math.radians(30)
    center, covariance = moments(gaussian_kernel(25, (3.0, 1.2), angle))
    np.testing.assert_allclose(center, 0, atol=1e-6)
    widths, axes = np.linalg.eigh(covariance)
    np.testing.assert_allclose(np.sqrt(widths), [1.2, 3.0], rtol=0.01)
    direction = axes[:, 1] * np.sign(axes[1, 1])
    np.testing.assert_allclose(direction, [math.sin(angle), math.cos(angle)], atol=0.01)


def test_an_isotropic_gaussian_is_scipys():
    pulse = np.zeros((21, 21))
    pulse[10, 10] = 1
    np.testing.assert_allclose(
        gaussian_kernel(21, (1.7, 1.7)), ndimage.gaussian_filter(pulse, 1.7, truncate=10 / 1.7), atol=1e-6
    )


def test_a_shift_moves_the_center():
    center, _ = moments(gaussian_kernel(25, (1.5, 1.5), shift=-1.5))
    np.testing.assert_allclose(center, -1.5, atol=1e-3)


def test_beta_makes_generalized_kernels_peaked_or_flat():
    """Excess kurtosis of a generalized normal: above a normal's for beta < 1, below it for beta > 1."""
    fourth = []
    for beta in (0.6, 1.0, 3.0):
        line = gaussian_kernel(41, (2.0, 2.0), shape="generalized", beta=beta).double().sum(0).numpy()
        steps = np.arange(-20, 21)
        fourth.append((line @ steps**4) / (line @ steps**2) ** 2)
    assert fourth[0] > fourth[1] > fourth[2]
    torch.testing.assert_close(gaussian_kernel(9, (2.0, 1.0), shape="generalized"), gaussian_kernel(9, (2.0, 1.0)))


def test_a_plateau_falls_to_half_at_one_sigma():
    kernel = gaussian_kernel(21, (4.0, 4.0), shape="plateau", beta=2.0)
    assert (kernel[10, 14] / kernel[10, 10]).item() == pytest.approx(0.5, abs=1e-5)
    assert (kernel[10, 12] / kernel[10, 10]).item() == pytest.approx(1 / (1 + 0.25**2), abs=1e-5)


def test_a_sinc_filter_passes_below_its_cutoff_only():
    gain = np.abs(np.fft.fft(sinc_kernel(101, 1.2).double().sum(0).numpy(), 1024))
    frequencies = 2 * np.pi * np.arange(1024) / 1024
    np.testing.assert_allclose(gain[frequencies < 1.0], 1, atol=0.1)
    assert gain[(frequencies > 1.4) & (frequencies < np.pi)].max() < 0.1


@pytest.mark.parametrize("kernel", KERNELS)
def test_blurring_is_convolution_with_mirrored_edges(kernel):
    image = np.random.default_rng(0).random((30, 41)).astype(np.float32)
    ours = blur(torch.from_numpy(image)[None, None].expand(2, -1, -1, -1), kernel)
    expected = ndimage.convolve(image.astype(np.float64), kernel.double().numpy(), mode="mirror")
    np.testing.assert_allclose(ours[1, 0], expected, atol=1e-5)


def test_an_image_smaller_than_the_kernel_is_blurred_too():
    small = torch.full((1, 1, 5, 9), 0.4)
    torch.testing.assert_close(blur(small, gaussian_kernel(25, (3.0, 3.0))), small)


def test_a_kernel_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="size is 8; .* odd"):
        sinc_kernel(8, 2.0)
