"""Discriminators."""

import pytest
import torch

from acuity.networks.discriminators import VGGDiscriminator


def test_published_size():
    count = sum(p.numel() for p in VGGDiscriminator(in_channels=3, size=128, features=64).parameters())
    assert count / 1e6 == pytest.approx(14.50, abs=0.01)


@pytest.mark.parametrize("size", [32, 48])
def test_one_logit_an_image(size):
    assert VGGDiscriminator(size=size, features=8)(torch.rand(2, 1, size, size)).shape == (2, 1)
