"""Best buddies against a search through all patches."""

import numpy as np
import pytest
import torch
from PIL import Image

from acuity.research.losses.best_buddy import best_buddies, best_buddy_loss, flat_mask


@pytest.fixture
def hr():
    noise = torch.rand(2, 1, 40, 32, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.avg_pool2d(noise, 5, stride=1)[..., :36, :24]


def patches(image):
    """(P, 9) of an array (H, W), without overlap."""
    h, w = (n // 3 for n in image.shape)
    return image[: 3 * h, : 3 * w].reshape(h, 3, w, 3).transpose(0, 2, 1, 3).reshape(h * w, 9)


def test_the_buddy_is_the_best_of_all_candidates(hr):
    sr = (hr + 0.1 * torch.randn(hr.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    found = best_buddies(sr, hr).transpose(1, 2).numpy()
    for n in range(2):
        truth = hr[n, 0].numpy()
        small = [Image.fromarray(truth).resize((24 // f, 36 // f), Image.Resampling.BICUBIC) for f in (2, 4)]
        candidates = np.concatenate([patches(np.asarray(image)) for image in (truth, *small)])
        gt, ours = patches(truth), patches(sr[n, 0].numpy())
        costs = ((candidates[:, None] - gt) ** 2).sum(-1) + ((candidates[:, None] - ours) ** 2).sum(-1)
        reached = ((found[n] - gt) ** 2).sum(-1) + ((found[n] - ours) ** 2).sum(-1)
        # Pillow's edges differ from ours, so that a candidate at an edge may be slightly another.
        assert (reached <= costs.min(axis=0) + 2e-2).all()
        assert np.median(np.abs(reached - costs.min(axis=0))) < 1e-6


def test_the_truth_is_its_own_buddy_and_a_background_of_zeros_stays_zero(hr):
    assert best_buddy_loss(hr, hr) == 0
    hr[..., :12] = 0
    assert (best_buddies(hr + 0.01, hr)[..., :4] == 0).all()


def test_a_patch_of_the_truth_from_elsewhere_costs_less_than_a_blurred_one(hr):
    """The point of the loss: detail that exists elsewhere in the image is not punished like a mean of all."""
    moved = hr.roll(3, dims=-1)
    flat = torch.full_like(hr, hr.mean().item())
    pixel_ratio = (moved - hr).abs().mean() / (flat - hr).abs().mean()
    assert best_buddy_loss(moved, hr) / best_buddy_loss(flat, hr) < pixel_ratio


def test_gradients_reach_the_image(hr):
    sr = (hr * 0.9).requires_grad_(True)
    best_buddy_loss(sr, hr).backward()
    assert sr.grad is not None and sr.grad.abs().sum() > 0


def test_a_flat_image_is_flat_and_noise_is_not():
    noise = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert (flat_mask(torch.full((1, 1, 16, 16), 0.6), 4) == 1).all()
    assert (flat_mask(noise, 4) == 0).all()
    assert flat_mask(noise, 2).shape == (1, 1, 32, 32)


def test_the_threshold_is_a_standard_deviation_of_0025():
    """Interpolated at once to its own size the image is itself: rows of +-a have the standard deviation a."""
    stripes = (-1.0) ** torch.arange(24)[:, None].expand(1, 1, 24, 24)
    for amplitude, flat in ((0.024, 1), (0.026, 0)):
        assert (flat_mask(0.5 + amplitude * stripes, 1)[..., 6:-6, 6:-6] == flat).all()
