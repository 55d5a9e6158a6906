"""FCN-32s, FCN-16s and FCN-8s: VGG16 made fully convolutional.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015 (arXiv:1411.4038).
Written from the paper's description, with two differences: fc6 is padded by 3 instead of the first convolution by 100,
which keeps every feature at its place in the image; and all weights are random, as ImageNet has no FLAIR channel.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VGG16 = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))  # of each block: number of convolutions, and features / width


class FCN(nn.Module):
    """VGG16 with fc6 and fc7 as convolutions, scores of up to three strides added, and bilinear upsampling.

    134.3 M parameters as published, at 21 classes and at 3.

    Parameters
    ----------
    stride : of the finest features that are scored: 32, 16 or 8
    in_channels : sequences, in the order T1, T1c, T2, FLAIR
    out_channels : regions, in the order ET, TC, WT
    width : features of the first block
    hidden : features of fc6 and fc7
    """

    def __init__(
        self,
        stride: Literal[8, 16, 32],
        in_channels: int = 4,
        out_channels: int = 3,
        width: int = 64,
        hidden: int = 4096,
    ) -> None:
        super().__init__()
        if stride not in (8, 16, 32):
            raise ValueError(f"stride is {stride}; FCNs have 8, 16 or 32")
        self.blocks = nn.ModuleList()
        features = in_channels
        for count, factor in VGG16:
            self.blocks.append(_vgg_block(features, factor * width, count))
            features = factor * width
        self.classifier = nn.Sequential(
            nn.Conv2d(features, hidden, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        # pool4 for stride 16, also pool3 for stride 8
        skips = {32: (), 16: (8 * width,), 8: (8 * width, 4 * width)}[stride]
        self.scores = nn.ModuleList(nn.Conv2d(n, out_channels, 1) for n in (hidden, *skips))
        self.upsamplings = nn.ModuleList(_bilinear_doubling(out_channels) for _ in skips)
        self.stride = stride
        for parameter in self.scores.parameters():  # as published: logits begin at 0
            nn.init.zeros_(parameter)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W), multiples of 32, to logits (N, out_channels, H, W)."""
        pooled = []
        x = image
        for block in self.blocks:
            x = F.max_pool2d(block(x), 2)
            pooled.append(x)
        logits = self.scores[0](self.classifier(x))
        for score, upsampling, skip in zip(self.scores[1:], self.upsamplings, (pooled[3], pooled[2]), strict=False):
            logits = upsampling(logits) + score(skip)
        return F.interpolate(logits, scale_factor=self.stride, mode="bilinear", align_corners=False)


def _vgg_block(in_channels: int, out_channels: int, count: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for features in [in_channels, *[out_channels] * (count - 1)]:
        layers += [nn.Conv2d(features, out_channels, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _bilinear_doubling(channels: int) -> nn.ConvTranspose2d:
    """Learned upsampling by 2 that begins as bilinear interpolation of each channel."""
    layer = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False)
    ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.copy_(torch.eye(channels)[:, :, None, None] * torch.outer(ramp, ramp))
    return layer
