"""Losses on pixels point the right way."""

import pytest
import torch

from acuity.research.losses.pixel import high_pass, total_variation_loss


def test_total_variation_sees_edges_and_not_offsets():
    image = torch.rand(1, 1, 8, 8)
    assert total_variation_loss(image + 0.3, image).item() == pytest.approx(0, abs=1e-6)
    assert total_variation_loss(torch.zeros_like(image), image) > 0.1


def test_total_variation_of_a_ramp_is_its_slope():
    ramp = 0.01 * torch.arange(8.0).expand(1, 1, 8, 8)
    assert total_variation_loss(ramp, torch.zeros_like(ramp)).item() == pytest.approx(0.01, abs=1e-6)


def test_high_pass_of_a_constant_is_zero():
    torch.testing.assert_close(high_pass(torch.full((1, 1, 16, 16), 0.7)), torch.zeros(1, 1, 16, 16))
