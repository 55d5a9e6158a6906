"""What single segmentation networks promise beside their sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from acuity.networks.efficient_unet import EfficientUNet
from acuity.networks.equiunet import EquiUnet
from acuity.networks.fcn import FCN
from acuity.networks.unet2d import UNet2d


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_deep_supervision_scores_every_level_in_training_alone() -> None:
    network = EquiUnet(width=16, deep_supervision=True)
    image = torch.randn(1, 4, 16, 24, 16)
    outputs = network(image)
    assert [tuple(o.shape) for o in outputs] == [(1, 3, 16, 24, 16)] * 5
    torch.testing.assert_close(network.eval()(image), outputs[0])
    # Those of the coarse levels are as smooth as their upsampling: by 8, 8, 4 and 2.
    rough = [o.diff(dim=2).diff(dim=2).abs().mean().item() / o.std().item() for o in outputs]
    assert rough[0] > rough[4] > rough[3] > max(rough[1:3])


def test_deep_heads_add_their_own_parameters_alone() -> None:
    plain, deep = EquiUnet(width=16), EquiUnet(width=16, deep_supervision=True)
    heads = sum(3 * n + 3 for n in (128, 64, 32, 16))
    assert sum(p.numel() for p in deep.parameters()) - sum(p.numel() for p in plain.parameters()) == heads
    outputs = deep(torch.randn(1, 4, 16, 16, 16))
    for n, head in enumerate(deep.deep_heads, start=1):
        gradients = torch.autograd.grad(outputs[n].sum(), list(head.parameters()), retain_graph=True)
        assert all(gradient.abs().max() > 0 for gradient in gradients)


@torch.inference_mode()
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_fcn_logits_begin_at_zero(stride: int) -> None:
    assert not FCN(stride, width=4, hidden=8).eval()(torch.randn(2, 4, 64, 96)).any()  # type: ignore[arg-type]


@torch.inference_mode()
def test_learned_upsampling_begins_as_bilinear_interpolation() -> None:
    coarse = torch.rand(1, 3, 6, 7)
    up = FCN(16, width=4, hidden=8).upsamplings[0](coarse)
    expected = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


@torch.inference_mode()
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_spot_answers_where_it_is(stride: int) -> None:
    """Features are not shifted on the way down and up: with even kernels, the response to a spot is centered on it."""
    network = FCN(stride, width=4, hidden=8).eval()  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.fill_(1 / module.weight[0].numel())
            if module.bias is not None:
                module.bias.zero_()
    image = torch.zeros(1, 4, 512, 512)
    image[..., 256:288, 224:256] = 1  # a whole cell of each stride
    response = network(image).sum(dim=(0, 1))
    assert response.sum() > 0
    rows, columns = (torch.arange(512.0) @ (response.sum(dim=axis) / response.sum()) for axis in (1, 0))
    assert rows.item() == pytest.approx(271.5, abs=0.1)
    assert columns.item() == pytest.approx(239.5, abs=0.1)


@torch.inference_mode()
def test_a_finer_stride_shows_finer_detail() -> None:
    """Within a cell of its stride, an FCN's logits are smooth: the finest lets the most detail through."""
    detail = {}
    for stride in (8, 16, 32):
        torch.manual_seed(0)
        network = FCN(stride, width=4, hidden=8).eval()
        for parameter in network.scores.parameters():
            nn.init.normal_(parameter)
        logits = network(torch.randn(1, 4, 128, 128, generator=torch.Generator().manual_seed(1)))
        smooth = F.interpolate(F.avg_pool2d(logits, 32), scale_factor=32, mode="bilinear", align_corners=False)
        detail[stride] = ((logits - smooth).std() / logits.std()).item()
    assert detail[8] > detail[16] > detail[32]


@pytest.mark.parametrize(
    ("network", "size", "far"),
    [(UNet2d(width=4), 128, 45), (EfficientUNet(), 256, 100)],
    ids=["U-Net", "EfficientUNet"],
)
def test_detail_and_context_both_reach_the_output(network: nn.Module, size: int, far: int) -> None:
    """Noise of one pixel comes through the skip of the first level; a far pixel through the bottom."""
    image = torch.randn(1, 4, size, size, requires_grad=True)
    middle = size // 2
    (gradient,) = torch.autograd.grad(network.eval()(image)[0, :, middle, middle].sum(), image)
    reach = gradient.abs().sum(dim=(0, 1))
    assert reach[middle, middle] > 0
    assert reach[middle, middle + far] > 0  # the first level alone sees 4 pixels
    assert reach[middle, middle] > 10 * reach[middle, middle + far]
