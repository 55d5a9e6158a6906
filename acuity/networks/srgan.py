"""SRGAN's own generator: residual blocks with batch norm and PReLU, 9x9 convolutions at both ends.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017
(arXiv:1609.04802). Three channels, 64 features and 16 blocks have 1,549,462 parameters, as published. Written from
the paper's description.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acuity.networks.srresnet import doublings


class _ResidualBlock(nn.Module):
    """x + BN(conv(PReLU(BN(conv(x)))))."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(features)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(self.prelu(self.norm1(self.conv1(x)))))


class _Upsampling(nn.Module):
    """PReLU of a convolution to four times the channels, shuffled to twice the size."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(features, 4 * features, 3, padding=1)
        self.prelu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(nn.functional.pixel_shuffle(self.conv(x), 2))


class SRGANGenerator(nn.Module):
    """(N, in_channels, h, w), 0 to 1, to (N, out_channels, scale * h, scale * w), about 0 to 1.

    The published one is trained on targets of -1 to 1; here its last layer's output is brought to 0 to 1.

    Parameters
    ----------
    in_channels, out_channels : 1 for MR
    features, blocks : 64 and 16 as published
    scale : 2 or 4 (published)
    bounded : a variant that circulates with pretrained weights: the trunk ends in PReLU where the published one has
        batch norm, and tanh keeps the output within 0 to 1

    Raises
    ------
    ValueError : for another scale
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: int = 64,
        blocks: int = 16,
        scale: int = 4,
        bounded: bool = False,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.bounded = bounded
        self.conv_first = nn.Conv2d(in_channels, features, 9, padding=4)
        self.prelu_first = nn.PReLU()
        self.trunk = nn.Sequential(*[_ResidualBlock(features) for _ in range(blocks)])
        self.conv_trunk = nn.Conv2d(features, features, 3, padding=1)
        self.trunk_end = nn.PReLU() if bounded else nn.BatchNorm2d(features)
        self.upsampling = nn.Sequential(*[_Upsampling(features) for _ in range(doublings(scale))])
        self.conv_last = nn.Conv2d(features, out_channels, 9, padding=4)

    def forward(self, lr: Tensor) -> Tensor:
        """The super-resolved image, within 0 to 1 only if ``bounded``."""
        head = self.prelu_first(self.conv_first(lr))
        x = head + self.trunk_end(self.conv_trunk(self.trunk(head)))
        x = self.conv_last(self.upsampling(x))
        return ((torch.tanh(x) if self.bounded else x) + 1) / 2
