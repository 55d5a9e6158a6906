"""RankSRGAN's SRResNet."""

import math

import pytest
import torch

from acuity.networks.srresnet import SRResNet


def test_parameter_count_is_the_published_one():
    assert sum(p.numel() for p in SRResNet(in_channels=3, out_channels=3).parameters()) == 1_554_499


@pytest.mark.parametrize("scale", [2, 4])
@torch.inference_mode()
def test_any_size_is_multiplied(scale):
    assert SRResNet(features=4, blocks=1, scale=scale)(torch.rand(2, 1, 7, 9)).shape == (2, 1, 7 * scale, 9 * scale)


def test_another_scale_is_refused():
    with pytest.raises(ValueError, match="scale is 3; .* use 2 or 4"):
        SRResNet(scale=3)


def test_weights_start_at_a_tenth_of_kaiming_s():
    torch.manual_seed(0)
    state = SRResNet(features=64, blocks=1).state_dict()
    for name in ("conv_trunk", "trunk.0.conv1", "conv_up.0", "conv_hr"):
        assert state[f"{name}.weight"].std().item() == pytest.approx(0.1 * math.sqrt(2 / (64 * 9)), rel=0.03)
        assert state[f"{name}.bias"].abs().max() == 0
