"""Losses at low resolution."""

import numpy as np
import pytest
import torch
from PIL import Image

from acuity.research.losses.consistency import back_projection_loss, cycle_loss


@pytest.fixture
def hr():
    return torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(0))


def shrunk_by_pillow(image):
    rows = [Image.fromarray(item[0].numpy()).resize((12, 8), Image.Resampling.BICUBIC) for item in image]
    return torch.from_numpy(np.stack([np.asarray(row) for row in rows]))[:, None]


def test_back_projection_of_the_truth_is_zero(hr):
    inside = (..., slice(2, -2), slice(2, -2))  # at the ends Pillow renormalizes where we replicate
    lr = shrunk_by_pillow(hr)
    for item in (lr, lr + 0.1):
        ours = back_projection_loss(hr, item)
        assert ours == pytest.approx((item - lr).abs()[inside].mean().item(), abs=0.01)


def test_back_projection_sees_a_shift_of_intensity_and_not_the_finest_texture(hr):
    flat = torch.full((1, 1, 32, 32), 0.5)
    lr = torch.full((1, 1, 8, 8), 0.5)
    checkerboard = 0.2 * (-1.0) ** (torch.arange(32)[:, None] + torch.arange(32))
    # What is left of the pattern comes from the edges, where pixels are replicated.
    assert back_projection_loss(flat + checkerboard, lr) < 1e-2
    assert back_projection_loss(flat + 0.2, lr) == pytest.approx(0.2, abs=1e-5)


def test_a_cycle_is_closed_by_the_right_degradation(hr):
    def degrade(image):
        return torch.nn.functional.avg_pool2d(image, 4)

    assert cycle_loss(hr, degrade(hr), degrade) == 0
    assert cycle_loss(hr + 0.1, degrade(hr), degrade) == pytest.approx(0.1, abs=1e-6)


def test_gradients_reach_the_image_through_the_shrinking(hr):
    sr = hr.clone().requires_grad_(True)
    back_projection_loss(sr, torch.zeros(2, 1, 8, 12)).backward()
    assert sr.grad is not None and sr.grad.sum() > 0
