"""SRGAN's own generator."""

import pytest
import torch

from acuity.networks.srgan import SRGANGenerator


def test_parameter_count_is_the_published_one():
    assert sum(p.numel() for p in SRGANGenerator(in_channels=3, out_channels=3).parameters()) == 1_549_462


@pytest.mark.parametrize("scale", [2, 4])
@torch.inference_mode()
def test_any_size_is_multiplied(scale):
    network = SRGANGenerator(features=4, blocks=1, scale=scale)
    assert network(torch.rand(2, 1, 7, 9)).shape == (2, 1, 7 * scale, 9 * scale)


@torch.inference_mode()
def test_the_output_is_brought_from_plus_minus_1_to_0_to_1():
    network = SRGANGenerator(features=4, blocks=1)
    weight, bias = network.conv_last.parameters()
    weight.zero_()
    for last, value in ((-1.0, 0.0), (0.0, 0.5), (1.0, 1.0), (3.0, 2.0)):
        bias.fill_(last)
        torch.testing.assert_close(network(torch.rand(1, 1, 4, 4)), torch.full((1, 1, 16, 16), value))


@torch.inference_mode()
def test_the_bounded_variant_stays_within_0_to_1():
    torch.manual_seed(0)
    network = SRGANGenerator(features=4, blocks=1, bounded=True)
    network.conv_last.weight.mul_(1000)
    image = network(torch.rand(1, 1, 8, 8))
    assert image.min() >= 0 and image.max() <= 1 and image.std() > 0.3


def test_another_scale_is_refused():
    with pytest.raises(ValueError, match="scale is 1"):
        SRGANGenerator(scale=1)
