"""Networks that start as interpolation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from acuity.networks.initialization import start_as_interpolation
from acuity.networks.rrdbnet import RRDBNet
from acuity.networks.srgan import SRGANGenerator
from acuity.networks.srresnet import SRResNet


def networks(scale: int) -> list[nn.Module]:
    torch.manual_seed(0)
    return [RRDBNet(features=8, blocks=1, growth=4, scale=scale), SRResNet(features=8, blocks=1, scale=scale)]


@pytest.mark.parametrize("index", [0, 1])
def test_they_double_as_bilinear_interpolation_does(index: int) -> None:
    network = networks(2)[index]
    start_as_interpolation(network)
    image = torch.rand(2, 1, 12, 16, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        found = network(image)
    torch.testing.assert_close(found[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4])


@pytest.mark.parametrize("index", [0, 1])
def test_twice_doubled_is_interpolated_twice(index: int) -> None:
    network = networks(4)[index]
    start_as_interpolation(network)
    image = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    once = F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
    expected = F.interpolate(once, scale_factor=2, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        found = network(image)
    torch.testing.assert_close(found[..., 12:-12, 12:-12], expected[..., 12:-12, 12:-12])


@pytest.mark.parametrize("index", [0, 1])
def test_every_layer_still_learns(index: int) -> None:
    """After one step, which reaches the last layer, all have gradients."""
    network = networks(4)[index]
    start_as_interpolation(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    image = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        optimizer.zero_grad()
        network(image).square().mean().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_others_are_left_alone() -> None:
    torch.manual_seed(0)
    network = SRGANGenerator(features=8, blocks=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    start_as_interpolation(network)
    for key, value in network.state_dict().items():
        assert torch.equal(before[key], value)
