"""The 2D U-Net: its published size, and that both its paths are used."""

import pytest
import torch

from acuity.networks.unet2d import UNet2d


def test_parameter_count_is_the_published_one():
    with torch.device("meta"):
        published, ours = UNet2d(1, 2), UNet2d()
    assert sum(p.numel() for p in published.parameters()) == 31_030_658
    assert sum(p.numel() for p in ours.parameters()) == 31_030_658 + 3 * 64 * 9 + 65


@torch.inference_mode()
def test_logits_have_the_size_of_the_image():
    assert UNet2d(width=4).eval()(torch.zeros(2, 4, 48, 32)).shape == (2, 3, 48, 32)


def test_detail_and_context_both_reach_the_output():
    """Noise of one pixel comes through the skip of the first level; a far pixel through the bottom."""
    torch.manual_seed(0)
    network = UNet2d(width=4).eval()
    image = torch.randn(1, 4, 128, 128, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(image)[0, :, 64, 64].sum(), image)
    reach = gradient.abs().sum(dim=(0, 1))
    assert reach[64, 64] > 0
    assert reach[64, 64 + 45] > 0  # the first level alone sees 4 pixels
    assert reach[64, 64] > 10 * reach[64, 64 + 45]


@pytest.mark.parametrize("level", range(5))
def test_every_level_learns(level):
    torch.manual_seed(0)
    network = UNet2d(width=4)
    network(torch.randn(1, 4, 32, 32)).square().mean().backward()
    assert network.encoders[level][0].weight.grad.abs().max() > 0
