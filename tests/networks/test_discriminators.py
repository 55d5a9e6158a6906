"""Discriminators."""

import pytest
import torch

from acuity.networks.discriminators import SRGANDiscriminator, UNetDiscriminator, VGGDiscriminator


@pytest.mark.parametrize(
    ("discriminator", "arguments", "millions"),
    [
        (VGGDiscriminator, {"size": 128}, 14.50),
        (VGGDiscriminator, {"size": 192, "features": 32}, 5.29),
        (VGGDiscriminator, {"size": 296, "halvings": 5}, 17.83),
        (UNetDiscriminator, {}, 4.38),
        (SRGANDiscriminator, {"size": 96}, 23.57),
    ],
)
def test_parameter_count_is_the_published_one(discriminator, arguments, millions):
    count = sum(p.numel() for p in discriminator(in_channels=3, **arguments).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(
    ("discriminator", "arguments"),
    [
        (VGGDiscriminator, {"size": 32}),
        (VGGDiscriminator, {"size": 48}),
        (VGGDiscriminator, {"size": 74, "halvings": 3}),
        (SRGANDiscriminator, {"size": 48}),
    ],
)
def test_one_logit_an_image(discriminator, arguments):
    size = arguments["size"]
    assert discriminator(features=8, **arguments)(torch.rand(2, 1, size, size)).shape == (2, 1)


def test_the_u_net_gives_a_logit_a_pixel():
    assert UNetDiscriminator(features=4)(torch.rand(2, 1, 24, 40)).shape == (2, 1, 24, 40)


@torch.inference_mode()
def test_the_u_net_s_inner_convolutions_have_spectral_norm_1():
    """By singular values, which the layer itself only approximates by power iteration."""
    torch.manual_seed(0)
    network = UNetDiscriminator(features=4)
    for _ in range(30):
        network(torch.rand(1, 1, 8, 8))
    inner = [*network.down, *network.up, *network.convs_hr]
    assert len(inner) == 8
    for conv in inner:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), ord=2).item() == pytest.approx(1, abs=0.02)
    for conv in (network.conv_first, network.conv_last):
        assert not torch.nn.utils.parametrize.is_parametrized(conv)


@torch.inference_mode()
def test_the_u_net_s_logits_are_local():
    """A change in a corner is seen there most, and through the coarse levels only weakly on the other side."""
    torch.manual_seed(0)
    network, image = UNetDiscriminator(features=8).eval(), torch.rand(1, 1, 64, 64)
    changed = image.clone()
    changed[..., :4, :4] = 1 - changed[..., :4, :4]
    difference = (network(changed) - network(image)).abs()
    assert difference[..., :4, :4].mean() > 100 * difference[..., -16:, -16:].mean()
