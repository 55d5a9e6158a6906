"""What single generators promise beside their sizes, and their start as interpolation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from acuity.networks.initialization import start_as_interpolation
from acuity.networks.rrdbnet import RRDBNet
from acuity.networks.srgan import SRGANGenerator
from acuity.networks.srrescycgan import SRResCycGAN
from acuity.networks.srresnet import SRResNet


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@torch.inference_mode()
def test_the_pad_of_an_odd_size_is_cut_at_the_far_end() -> None:
    """The same as padding outside, and cutting what the added row and column became."""
    network, image = RRDBNet(features=4, blocks=1, growth=2, scale=2, unshuffle=True), torch.rand(1, 1, 7, 9)
    padded = F.pad(image, (0, 1, 0, 1), mode="replicate")
    torch.testing.assert_close(network(image), network(padded)[..., :14, :18])


@pytest.mark.parametrize(
    ("network", "fan_in"),
    [
        (RRDBNet(blocks=1), {f"trunk.0.2.convs.{n}": 64 + 32 * n for n in range(5)}),
        (SRResNet(blocks=1), dict.fromkeys(("conv_trunk", "trunk.0.conv1", "conv_up.0", "conv_hr"), 64)),
    ],
)
def test_weights_start_at_a_tenth_of_kaiming_s(network: nn.Module, fan_in: dict[str, int]) -> None:
    state = network.state_dict()
    for name, channels in fan_in.items():
        assert state[f"{name}.weight"].std().item() == pytest.approx(0.1 * math.sqrt(2 / (channels * 9)), rel=0.03)
        assert state[f"{name}.bias"].abs().max() == 0
    if isinstance(network, RRDBNet):
        assert state["conv_hr.weight"].std() > 0.02  # the others as torch starts them: uniform to 1 / sqrt(fan_in)


@torch.inference_mode()
def test_blocks_that_add_nothing_leave_only_the_convolutions_beside_them() -> None:
    """With zero last convolutions each block is the identity, at its two depths of residuals."""
    network = RRDBNet(features=4, blocks=2, growth=2)
    x = torch.randn(1, 4, 5, 5)
    for name, parameter in network.trunk.named_parameters():
        if ".convs.4." in name:
            parameter.zero_()
    # an RRDB adds 0.2 of what its dense blocks give, which is x itself
    torch.testing.assert_close(network.trunk(x), 1.2**2 * x)


@pytest.mark.parametrize(("last", "value"), [(-1.0, 0.0), (0.0, 0.5), (1.0, 1.0), (3.0, 2.0)])
@torch.inference_mode()
def test_srgan_s_output_is_brought_from_plus_minus_1_to_0_to_1(last: float, value: float) -> None:
    network = SRGANGenerator(features=4, blocks=1)
    weight, bias = network.conv_last.parameters()
    weight.zero_()
    bias.fill_(last)
    torch.testing.assert_close(network(torch.rand(1, 1, 4, 4)), torch.full((1, 1, 16, 16), value))


@torch.inference_mode()
def test_the_bounded_srgan_stays_within_0_to_1() -> None:
    network = SRGANGenerator(features=4, blocks=1, bounded=True)
    network.conv_last.weight.mul_(1000)
    image = network(torch.rand(1, 1, 8, 8))
    assert image.min() >= 0 and image.max() <= 1 and image.std() > 0.3


@torch.inference_mode()
def test_srrescycgan_takes_its_residual_from_the_interpolated_image() -> None:
    network, image = SRResCycGAN(scale=4).eval(), torch.rand(2, 1, 24, 20)
    network.conv_out.parametrizations.weight.original0.zero_()
    network.conv_out.bias.zero_()
    expected = F.interpolate(image, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(image), expected)
    network.conv_out.bias.fill_(25.5)  # a tenth of the intensity range
    torch.testing.assert_close(network(image), (expected - 0.1).clamp_min(0))


GENERATORS = {"RRDBNet": (RRDBNet, {"growth": 4}), "SRResNet": (SRResNet, {})}


def interpolating(name: str, scale: int) -> nn.Module:
    network, arguments = GENERATORS[name]
    made = network(features=8, blocks=1, scale=scale, **arguments)
    start_as_interpolation(made)
    return made


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("name", GENERATORS)
@torch.inference_mode()
def test_started_as_interpolation_they_double_bilinearly(name: str, scale: int) -> None:
    image = expected = torch.rand(2, 1, 12, 16)
    for _ in range(scale // 2):
        expected = F.interpolate(expected, scale_factor=2, mode="bilinear", align_corners=False)
    margin = {2: 4, 4: 12}[scale]  # which the networks pad with zeros
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    torch.testing.assert_close(interpolating(name, scale)(image)[inside], expected[inside])


@pytest.mark.parametrize("name", GENERATORS)
def test_started_as_interpolation_every_layer_still_learns(name: str) -> None:
    """After one step, which reaches the last layer, all have gradients."""
    network = interpolating(name, 4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    image = torch.rand(2, 1, 8, 8)
    for _ in range(2):
        optimizer.zero_grad()
        network(image).square().mean().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize(
    "network",
    [SRGANGenerator(features=8, blocks=1), RRDBNet(features=8, blocks=1, growth=4, scale=2, unshuffle=True)],
)
def test_other_generators_are_left_alone(network: nn.Module) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    start_as_interpolation(network)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
