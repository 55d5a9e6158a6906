"""FCNs: their published size, and where their output lies."""

import pytest
import torch
from torch.nn import functional as F

from acuity.networks.fcn import FCN

VGG16 = 138_357_544  # as published, with its 1000 classes
FC8 = 4097 * 1000


@pytest.mark.parametrize(
    ("stride", "skips"), [(32, 0), (16, 513 * 21 + 16 * 21**2), (8, 513 * 21 + 257 * 21 + 2 * 16 * 21**2)]
)
def test_parameter_count_is_that_of_vgg16_with_other_classes(stride, skips):
    with torch.device("meta"):  # 540 MB otherwise
        network = FCN(stride, in_channels=3, out_channels=21)
        ours = FCN(stride)
    count = sum(p.numel() for p in network.parameters())
    assert count == VGG16 - FC8 + 4097 * 21 + skips
    assert sum(p.numel() for p in ours.parameters()) / 1e6 == pytest.approx(134.3, abs=0.05)


def test_other_strides_are_refused():
    with pytest.raises(ValueError, match="stride is 4"):
        FCN(4)  # type: ignore[arg-type]


@torch.inference_mode()
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_logits_begin_at_zero_and_cover_the_image(stride):
    logits = FCN(stride, width=4, hidden=8).eval()(torch.randn(2, 4, 64, 96))
    assert logits.shape == (2, 3, 64, 96)
    assert (logits == 0).all()


@torch.inference_mode()
def test_learned_upsampling_begins_as_bilinear_interpolation():
    coarse = torch.rand(1, 3, 6, 7)
    up = FCN(16, width=4, hidden=8).upsamplings[0](coarse)
    wanted = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1])


@torch.inference_mode()
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_spot_answers_where_it_is(stride):
    """Features are not shifted on the way down and up: with even kernels, the response to a spot is centered on it."""
    network = FCN(stride, width=4, hidden=8).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
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
def test_a_finer_stride_shows_finer_detail():
    """Within a cell of its stride, an FCN's logits are smooth: the finest lets the most detail through."""
    detail = {}
    for stride in (8, 16, 32):
        torch.manual_seed(0)
        network = FCN(stride, width=4, hidden=8).eval()
        for parameter in network.scores.parameters():
            torch.nn.init.normal_(parameter)
        logits = network(torch.randn(1, 4, 128, 128, generator=torch.Generator().manual_seed(1)))
        smooth = F.interpolate(F.avg_pool2d(logits, 32), scale_factor=32, mode="bilinear", align_corners=False)
        detail[stride] = ((logits - smooth).std() / logits.std()).item()
    assert detail[8] > detail[16] > detail[32]
