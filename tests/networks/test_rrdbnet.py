"""RRDBNet in its three published layouts."""

import math

import pytest
import torch

from acuity.networks.rrdbnet import RRDBNet


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({"in_channels": 3, "out_channels": 3}, 16_697_987),
        ({}, 16_695_681),
        ({"in_channels": 3, "out_channels": 3, "scale": 2, "unshuffle": True}, 16_703_171),  # Real-ESRGAN
        ({"in_channels": 3, "out_channels": 3, "scale": 2}, 16_661_059),  # BSRGAN
    ],
)
def test_parameter_count_is_the_published_one(arguments, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in RRDBNet(**arguments).parameters()) == count


@pytest.mark.parametrize(("scale", "unshuffle"), [(4, False), (2, False), (2, True)])
@torch.inference_mode()
def test_any_size_is_multiplied(scale, unshuffle):
    network = RRDBNet(features=4, blocks=1, growth=2, scale=scale, unshuffle=unshuffle)
    assert network(torch.rand(2, 1, 7, 9)).shape == (2, 1, 7 * scale, 9 * scale)


@torch.inference_mode()
def test_the_pad_of_an_odd_size_is_cut_at_the_far_end():
    """The same as padding outside, and cutting what the added row and column became."""
    torch.manual_seed(0)
    network, image = RRDBNet(features=4, blocks=1, growth=2, scale=2, unshuffle=True), torch.rand(1, 1, 7, 9)
    padded = torch.nn.functional.pad(image, (0, 1, 0, 1), mode="replicate")
    torch.testing.assert_close(network(image), network(padded)[..., :14, :18])


def test_another_scale_is_refused():
    with pytest.raises(ValueError, match="scale is 8"):
        RRDBNet(scale=8)


def test_dense_convolutions_start_at_a_tenth_of_kaiming_s():
    torch.manual_seed(0)
    state = RRDBNet(blocks=1).state_dict()
    for n in range(5):
        fan_in = (64 + 32 * n) * 9
        assert state[f"trunk.0.2.convs.{n}.weight"].std().item() == pytest.approx(0.1 * math.sqrt(2 / fan_in), rel=0.03)
        assert state[f"trunk.0.2.convs.{n}.bias"].abs().max() == 0
    assert state["conv_hr.weight"].std() > 0.02  # the others as torch starts them: uniform to 1 / sqrt(fan_in)


@torch.inference_mode()
def test_blocks_that_add_nothing_leave_only_the_convolutions_beside_them():
    """With zero last convolutions each block is the identity, at its two depths of residuals."""
    torch.manual_seed(0)
    network = RRDBNet(features=4, blocks=2, growth=2)
    x = torch.randn(1, 4, 5, 5)
    for name, parameter in network.trunk.named_parameters():
        if ".convs.4." in name:
            parameter.zero_()
    # an RRDB adds 0.2 of what its dense blocks give, which is x itself
    torch.testing.assert_close(network.trunk(x), 1.2**2 * x)
