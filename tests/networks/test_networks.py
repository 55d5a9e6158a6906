"""All networks: their published sizes, the shapes that they take and give, and that all of each one learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from acuity.networks.discriminators import SRGANDiscriminator, UNetDiscriminator, VGGDiscriminator
from acuity.networks.efficient_unet import EfficientUNet
from acuity.networks.equiunet import EquiUnet
from acuity.networks.fcn import FCN
from acuity.networks.ranker import Ranker
from acuity.networks.rrdbnet import RRDBNet
from acuity.networks.srgan import SRGANGenerator
from acuity.networks.srrescycgan import SRResCycGAN
from acuity.networks.srresnet import SRResNet
from acuity.networks.unet2d import UNet2d

COLOR = {"in_channels": 3, "out_channels": 3}
VGG16 = 138_357_544 - 4097 * 1000  # as published, without its 1000 classes


@pytest.mark.parametrize(
    ("network", "arguments", "count"),
    [
        (RRDBNet, COLOR, 16_697_987),
        (RRDBNet, {}, 16_695_681),
        (RRDBNet, COLOR | {"scale": 2, "unshuffle": True}, 16_703_171),  # Real-ESRGAN
        (RRDBNet, COLOR | {"scale": 2}, 16_661_059),  # BSRGAN
        (SRResNet, COLOR, 1_554_499),
        (SRGANGenerator, COLOR, 1_549_462),
        (SRResCycGAN, {"in_channels": 3}, 380_356),
        (VGGDiscriminator, {"in_channels": 3, "size": 128}, 14.50),
        (VGGDiscriminator, {"in_channels": 3, "size": 192, "features": 32}, 5.29),
        (VGGDiscriminator, {"in_channels": 3, "size": 296, "halvings": 5}, 17.83),
        (UNetDiscriminator, {"in_channels": 3}, 4.38),
        (SRGANDiscriminator, {"in_channels": 3, "size": 96}, 23.57),
        (Ranker, {"in_channels": 3}, 13.73),
        (EquiUnet, {"width": 48}, 23_152_563),
        (EquiUnet, {"width": 32}, 10.29),
        (EquiUnet, {"width": 16}, 2.57),
        (UNet2d, {"in_channels": 1, "out_channels": 2}, 31_030_658),
        (UNet2d, {}, 31_030_658 + 3 * 64 * 9 + 65),
        (FCN, {"stride": 32, "in_channels": 3, "out_channels": 21}, VGG16 + 4097 * 21),
        (FCN, {"stride": 16, "in_channels": 3, "out_channels": 21}, VGG16 + 4097 * 21 + 513 * 21 + 16 * 21**2),
        (FCN, {"stride": 8, "in_channels": 3, "out_channels": 21}, VGG16 + (4097 + 513 + 257) * 21 + 2 * 16 * 21**2),
        (FCN, {"stride": 8}, 134.3),
    ],
)
def test_parameter_count_is_the_published_one(
    network: type[nn.Module], arguments: dict[str, Any], count: float
) -> None:
    """Exactly, or in millions where the papers round."""
    with torch.device("meta"):
        found = sum(p.numel() for p in network(**arguments).parameters())
    if isinstance(count, int):
        assert found == count
    else:
        assert found / 1e6 == pytest.approx(count, abs=0.05 if network is FCN else 0.006)


TINY = {"features": 4, "blocks": 1}


@pytest.mark.parametrize(
    ("network", "arguments", "taken", "given"),
    [
        (RRDBNet, TINY | {"growth": 2}, (2, 1, 7, 9), (2, 1, 28, 36)),
        (RRDBNet, TINY | {"growth": 2, "scale": 2}, (2, 1, 7, 9), (2, 1, 14, 18)),
        (RRDBNet, TINY | {"growth": 2, "scale": 2, "unshuffle": True}, (2, 1, 7, 9), (2, 1, 14, 18)),
        (SRResNet, TINY, (2, 1, 7, 9), (2, 1, 28, 36)),
        (SRResNet, TINY | {"scale": 2}, (2, 1, 7, 9), (2, 1, 14, 18)),
        (SRGANGenerator, TINY, (2, 1, 7, 9), (2, 1, 28, 36)),
        (SRGANGenerator, TINY | {"scale": 2, "bounded": True}, (2, 1, 7, 9), (2, 1, 14, 18)),
        (SRResCycGAN, TINY, (2, 1, 24, 20), (2, 1, 24, 20)),
        (SRResCycGAN, TINY | {"scale": 4}, (2, 1, 6, 5), (2, 1, 24, 20)),
        (VGGDiscriminator, {"features": 8, "size": 32}, (2, 1, 32, 32), (2, 1)),
        (VGGDiscriminator, {"features": 8, "size": 48}, (2, 1, 48, 48), (2, 1)),
        (VGGDiscriminator, {"features": 8, "size": 74, "halvings": 3}, (2, 1, 74, 74), (2, 1)),
        (SRGANDiscriminator, {"features": 8, "size": 48}, (2, 1, 48, 48), (2, 1)),
        (UNetDiscriminator, {"features": 4}, (2, 1, 24, 40), (2, 1, 24, 40)),
        (Ranker, {"features": 4}, (3, 1, 32, 32), (3, 1)),
        (Ranker, {"features": 4}, (3, 1, 33, 70), (3, 1)),
        (Ranker, {"features": 4}, (3, 1, 128, 64), (3, 1)),
        (EquiUnet, {"width": 16}, (1, 4, 16, 24, 16), (1, 3, 16, 24, 16)),
        (UNet2d, {"width": 4}, (2, 4, 48, 32), (2, 3, 48, 32)),
        (FCN, {"stride": 32, "width": 4, "hidden": 8}, (2, 4, 64, 96), (2, 3, 64, 96)),
        (FCN, {"stride": 16, "width": 4, "hidden": 8}, (2, 4, 64, 96), (2, 3, 64, 96)),
        (FCN, {"stride": 8, "width": 4, "hidden": 8}, (2, 4, 64, 96), (2, 3, 64, 96)),
        (EfficientUNet, {"width": 8}, (2, 4, 64, 32), (2, 3, 64, 32)),
    ],
)
def test_shapes_and_that_all_of_it_learns(
    network: type[nn.Module], arguments: dict[str, Any], taken: tuple[int, ...], given: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    made = network(**arguments)
    output = made(torch.rand(taken))
    assert output.shape == given
    if isinstance(made, FCN):  # as published, its scores begin at 0, and nothing before them learns in the first step
        for parameter in made.scores.parameters():
            nn.init.normal_(parameter)
        output = made.eval()(torch.rand(taken))
    output.square().mean().backward()
    silent = {name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    # SRResCycGAN's alpha is of a projection that is left off. A bias before batch norm has no effect.
    biases = {f"{name}.bias" for name, module in made.named_modules() if isinstance(module, nn.Conv2d | nn.Conv3d)}
    assert silent - biases <= {"alpha"}


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (RRDBNet, {"scale": 8}, "scale is 8"),
        (SRResNet, {"scale": 3}, "scale is 3; .* use 2 or 4"),
        (SRGANGenerator, {"scale": 1}, "scale is 1"),
        (EquiUnet, {"width": 20}, "width is 20"),
        (FCN, {"stride": 4}, "stride is 4"),
    ],
)
def test_other_sizes_are_refused(network: type[nn.Module], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**arguments)
