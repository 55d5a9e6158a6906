"""Resizing against independent implementations."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from acuity.imaging.forward_model import (
    box_matrix,
    downsample_cubic,
    resize_axes,
    resize_cubic,
    resize_matrix,
    upsample_cubic,
)


@pytest.fixture
def image():
    return np.random.default_rng(0).random((24, 36)).astype(np.float32)


@pytest.mark.parametrize("size", [(12, 18), (8, 9), (48, 72)])
def test_agrees_with_pillow_inside(image, size):
    """Pillow's bicubic is antialiased with a = -0.5 too; at the ends it renormalizes where we replicate."""
    ours = resize_cubic(torch.from_numpy(image), size, tuple(n / m for n, m in zip(image.shape, size, strict=True)))
    theirs = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
    inside = (slice(4, -4) if size[0] > 24 else slice(2, -2),) * 2
    np.testing.assert_allclose(ours.numpy()[inside], theirs[inside], atol=1e-5)


def test_an_odd_size_is_rounded_up_and_comes_back():
    volume = np.ones((6, 7, 5), dtype=np.float32)
    low = downsample_cubic(volume, (2, 2, 2))
    assert low.shape == (3, 4, 3)
    np.testing.assert_allclose(upsample_cubic(low, (2, 2, 2), volume.shape), 1, atol=1e-6)


def test_a_ramp_stays_where_it_is():
    """Half-pixel centers: sample n of the half-size ramp lies at 2n + 0.5 of the original."""
    low = downsample_cubic(np.arange(32, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32), (2, 1))
    np.testing.assert_allclose(low[3:-3, 0], np.arange(16)[3:-3] * 2 + 0.5, atol=1e-4)


def test_shrinking_without_antialiasing_keeps_more_of_the_fine_pattern():
    pattern = torch.from_numpy(np.cos(np.arange(64) * 2.6).astype(np.float32))[None]
    smooth, sharp = (resize_cubic(pattern, (1, 32), (1.0, 2.0), antialias=a).std() for a in (True, False))
    assert sharp > 3 * smooth


def test_resizing_has_gradients_after_the_same_resizing_in_inference():
    """Annotation servers infer and train in one process."""
    with torch.inference_mode():
        resize_cubic(torch.rand(1, 1, 23, 29), (11, 13), (23 / 11, 29 / 13))
    image = torch.rand(1, 1, 23, 29, requires_grad=True)
    resize_cubic(image, (11, 13), (23 / 11, 29 / 13)).sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


@pytest.mark.parametrize(("axis", "count"), [(0, 3), (0, 4), (1, 6)])
def test_a_box_of_whole_samples_is_scipy_s_moving_average(image, axis, count):
    """Of which every count-th value is taken; the other axis is left alone."""
    size = [*image.shape]
    size[axis] //= count
    ratios = tuple(float(count) if a == axis else 1.0 for a in range(2))
    found = resize_axes(torch.from_numpy(image), tuple(size), ratios, (box_matrix, box_matrix))
    moving = ndimage.uniform_filter1d(image.astype(np.float64), count, axis=axis)
    np.testing.assert_allclose(found, np.take(moving, range(count // 2, image.shape[axis], count), axis), rtol=1e-5)


@pytest.mark.parametrize(
    ("size_in", "size_out", "ratio"), [(23, 10, 2.3), (24, 7, 24 / 7), (36, 24, 1.5), (10, 3, 3.5)]
)
def test_a_box_of_broken_samples_is_the_mean_over_its_width(size_in, size_out, ratio):
    """The integral of a step function, interpolated between faces; 3 boxes of 3.5 reach 0.5 beyond 10 samples."""
    values = np.random.default_rng(0).random(size_in)
    wide = np.append(values, values[-1])
    integral = np.interp(np.arange(size_out + 1) * ratio, np.arange(size_in + 2), np.append(0, wide.cumsum()))
    found = box_matrix(size_in, size_out, ratio).numpy() @ values
    np.testing.assert_allclose(found, np.diff(integral) / ratio, rtol=1e-5)


def test_each_axis_is_resized_by_its_own_matrix(image):
    found = resize_axes(torch.from_numpy(image), (12, 9), (2.0, 4.0), (resize_matrix, box_matrix))
    # Pillow's box filter averages, too.
    narrow = Image.fromarray(image).resize((9, 24), Image.Resampling.BOX)
    expected = np.asarray(narrow.resize((9, 12), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(found.numpy()[2:-2], expected[2:-2], atol=1e-5)
