"""Steps do what they name, in order and repeatably."""

import numpy as np
import pytest
import torch
from skimage import data

from acuity.imaging.forward_model import downsample_cubic
from acuity.research.degradations import steps
from acuity.research.degradations.steps import apply


@pytest.fixture(scope="module")
def image():
    return torch.from_numpy(data.camera()[128:192, 200:296] / 255.0).float()[None, None]


def test_sizes_are_parts_of_the_undegraded_image(image):
    assert apply(image, (steps.Resize(1.7, "area"), steps.Resize(4, "bilinear"))).shape == (1, 1, 16, 24)
    assert apply(image, (steps.Resize(8, "bicubic"), steps.TruncateKspace(8))).shape == (1, 1, 8, 12)
    assert apply(image, (steps.Resize(1000, "area"),)).shape == (1, 1, 1, 1)


def test_antialiased_is_the_papers_low_resolution(image):
    expected = downsample_cubic(image[0, 0].numpy(), (4, 4))
    np.testing.assert_allclose(apply(image, (steps.Resize(4, "antialiased"),))[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["area", "bilinear", "bicubic", "antialiased"])
def test_outer_faces_coincide(interpolation):
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    low = apply(ramp, (steps.Resize(4, interpolation),))
    np.testing.assert_allclose(low[0, 0, 8, 3:-3], np.arange(16)[3:-3] * 4 + 1.5, atol=1e-3)


def test_a_shifted_kernel_and_decimation_keep_the_place():
    """The first of each four pixels then stands for the middle of the four."""
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    low = apply(ramp, (steps.Blur(25, (1.6, 1.6), shift=-1.5), steps.Decimate(4)))
    np.testing.assert_allclose(low[0, 0, 8, 4:-4], np.arange(16)[4:-4] * 4 + 1.5, atol=2e-2)


def test_order_matters_and_nothing_happens_without_steps(image):
    assert apply(image, ()) is image
    noise, blur = steps.GaussianNoise(0.1, 1), steps.Blur(21, (2.0, 2.0))
    noise_last, blur_last = (apply(image, order).diff(dim=-1).std() for order in ((blur, noise), (noise, blur)))
    assert noise_last > 2 * blur_last


def test_rounding_leaves_256_levels():
    low = apply(torch.linspace(-0.2, 1.2, 4096).reshape(1, 1, 64, 64), (steps.RoundTo8Bits(),))
    assert low.unique().numel() == 256
    assert low.min() == 0 and low.max() == 1


@pytest.mark.parametrize(
    "step",
    [
        steps.Sinc(13, 1.5),
        steps.RicianNoise(0.1, 0),
        steps.PoissonNoise(1.0, 0),
        steps.Jpeg(30),
        steps.GibbsRinging((0.5, 0.5)),
        steps.PartialFourier(0.625, -1),
        steps.Magnitude(),
    ],
)
def test_every_other_step_keeps_the_size_and_changes_the_image(image, step):
    signed = image - 0.3 if isinstance(step, steps.Magnitude) else image
    degraded = apply(signed, (step,))
    assert degraded.shape == image.shape
    assert not torch.allclose(degraded, signed, atol=1e-3)
    torch.testing.assert_close(apply(signed, (step,)), degraded, atol=0, rtol=0)


def test_gradients_pass_where_they_can(image):
    chain = (
        steps.Blur(9, (1.0, 1.0)),
        steps.Sinc(9, 2.0),
        steps.GaussianNoise(0.01, 0),
        steps.PoissonNoise(0.1, 0),
        steps.RicianNoise(0.01, 0),
        steps.GibbsRinging((0.7, 0.7)),
        steps.PartialFourier(0.75, -2),
        steps.Magnitude(),
        steps.Resize(4, "antialiased"),
    )
    sr = (0.25 + image / 2).requires_grad_(True)
    apply(sr, chain).sum().backward()
    assert sr.grad is not None and torch.isfinite(sr.grad).all()
    assert sr.grad.sum().item() == pytest.approx(image.numel() / 16, rel=0.1)
