"""Pairs: what is drawn, that it repeats, and what no loss counts."""

import numpy as np
import pytest
import torch
from PIL import Image

from acuity.research.datasets.volume_patches import MARGIN
from acuity.research.degradations.random import draw_bicubic, draw_bsrgan_mri
from acuity.research.training.pairs import InPlanePairs, VolumePairs, psnr_gain
from tests.phantom_slices import phantom_slices


def test_low_resolution_is_pillow_s_bicubic():
    batch = InPlanePairs(phantom_slices(), draw_bicubic, scale=4, size=32).draw(2, np.random.default_rng(0))
    assert batch.lr.shape == (2, 1, 8, 8) and batch.hr.shape == batch.interpolated.shape == (2, 1, 32, 32)
    for lr, hr in zip(batch.lr, batch.hr, strict=True):
        expected = np.asarray(Image.fromarray(hr[0].numpy()).resize((8, 8), Image.Resampling.BICUBIC))
        inner = (slice(2, -2), slice(2, -2))  # Pillow renormalizes its kernel at the edge
        np.testing.assert_allclose(lr[0].numpy()[inner], expected[inner], atol=1e-4)


def test_draws_repeat_and_each_patch_is_degraded_in_its_own_way():
    pairs = InPlanePairs(phantom_slices(1), draw_bsrgan_mri, scale=4, size=32)
    first, again, other = (pairs.draw(2, np.random.default_rng(seed)) for seed in (0, 0, 1))
    torch.testing.assert_close(first.lr, again.lr)
    assert not torch.allclose(first.lr, other.lr)
    same_patch = first.hr[:1].expand(2, -1, -1, -1)
    one, two = first.degrade(same_patch)
    assert not torch.allclose(one, two)


def test_volumes_give_interpolated_images_and_a_margin():
    rng = np.random.default_rng(0)
    volume = rng.uniform(0.1, 1, (24, 24, 24)).astype(np.float16)
    batch = VolumePairs([volume], size=16).draw(3, rng)
    assert batch.image.shape == batch.hr.shape == (3, 1, 16 + 2 * MARGIN, 16 + 2 * MARGIN)
    assert batch.cut(batch.hr).shape == (3, 1, 16, 16)
    assert batch.degrade(batch.hr).shape == batch.lr.shape
    torch.testing.assert_close(batch.degrade(batch.hr), batch.lr)
    assert list(VolumePairs([volume]).fixed()) == ["x2", "x2_one_axis", "x5_one_axis"]


def test_the_gain_is_zero_for_interpolation_and_six_decibels_for_half_the_error():
    pairs = InPlanePairs(phantom_slices(), draw_bicubic, scale=4, size=32)
    (batches,) = pairs.fixed().values()
    by_image = {batch.image.sum().item(): batch for batch in batches}

    def half_as_wrong(image):
        batch = by_image[image.sum().item()]
        return (batch.interpolated + batch.hr) / 2

    def interpolate(image):
        return by_image[image.sum().item()].interpolated

    assert psnr_gain(interpolate, batches, torch.device("cpu")) == pytest.approx(0, abs=1e-6)
    assert psnr_gain(half_as_wrong, batches, torch.device("cpu")) == pytest.approx(20 * np.log10(2), abs=1e-3)
