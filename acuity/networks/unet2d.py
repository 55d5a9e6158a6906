"""The 2D U-Net.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015
(arXiv:1505.04597). Written from the paper's description; convolutions are padded, so that logits cover the whole image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UNet2d(nn.Module):
    """Five levels of 64 to 1024 features; 31,030,658 parameters as published, with one channel in and two out.

    Parameters
    ----------
    in_channels : sequences, in the order T1, T1c, T2, FLAIR
    out_channels : regions, in the order ET, TC, WT
    width : features of the first level; each further one has twice as many
    """

    def __init__(self, in_channels: int = 4, out_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        features = [width * 2**level for level in range(5)]
        self.encoders = nn.ModuleList(
            _double_conv(n, m) for n, m in zip([in_channels, *features[:-1]], features, strict=True)
        )
        self.dropout = nn.Dropout()
        self.upsamplings = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, stride=2) for n in features[-2::-1])
        self.decoders = nn.ModuleList(_double_conv(2 * n, n) for n in features[-2::-1])
        self.head = nn.Conv2d(width, out_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W), multiples of 16, to logits (N, out_channels, H, W)."""
        skips: list[Tensor] = []
        x = image
        for encoder in self.encoders:
            x = encoder(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        x = self.dropout(skips.pop())
        for upsampling, decoder in zip(self.upsamplings, self.decoders, strict=True):
            x = decoder(torch.cat([skips.pop(), upsampling(x)], dim=1))
        return self.head(x)


def _double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.ReLU(inplace=True),
    )
