"""EquiUnet, the 3D U-Net of Open BraTS.

Henry et al., "Brain tumor segmentation with self-ensembled, deeply-supervised 3D U-net neural networks:
a BraTS 2020 challenge solution", BrainLes 2020 (arXiv:2011.01045). Written from the paper's description.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

is_scripting = torch.jit.is_scripting  # type: ignore[attr-defined]  # TorchScript would parse this inside a function


class _ConvBlock(nn.Sequential):
    """conv 3x3x3 without bias, GroupNorm of 16 groups, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv3d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.GroupNorm(16, out_channels),
            nn.ReLU(inplace=True),
        )


class _DoubleConv(nn.Sequential):
    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__(
            _ConvBlock(in_channels, mid_channels, dilation), _ConvBlock(mid_channels, out_channels, dilation)
        )


class EquiUnet(nn.Module):
    """Four-level 3D U-Net with GroupNorm and a dilated bottom; 23,152,563 parameters at width 48.

    Parameters
    ----------
    in_channels : sequences, in the order T1, T1c, T2, FLAIR
    out_channels : regions, in the order ET, TC, WT
    width : features of the first level; a multiple of 16
    deep_supervision : in training every level of the decoder has a head too
    """

    def __init__(
        self, in_channels: int = 4, out_channels: int = 3, width: int = 48, deep_supervision: bool = False
    ) -> None:
        super().__init__()
        if width % 16:
            raise ValueError(f"width is {width}; GroupNorm of 16 groups needs a multiple of 16")
        f1, f2, f3, f4 = width, 2 * width, 4 * width, 8 * width
        self.encoder1 = _DoubleConv(in_channels, f1, f1)
        self.encoder2 = _DoubleConv(f1, f2, f2)
        self.encoder3 = _DoubleConv(f2, f3, f3)
        self.encoder4 = _DoubleConv(f3, f4, f4)
        self.bottom = _DoubleConv(f4, f4, f4, dilation=2)
        self.bottom_merge = _ConvBlock(2 * f4, f3)
        self.decoder3 = _DoubleConv(2 * f3, f3, f2)
        self.decoder2 = _DoubleConv(2 * f2, f2, f1)
        self.decoder1 = _DoubleConv(2 * f1, f1, f1)
        self.head = nn.Conv3d(f1, out_channels, 1)
        # For the bottom, its merge with the last encoder level, and the decoder levels 3 and 2.
        self.deep_heads = nn.ModuleList(
            nn.Conv3d(n, out_channels, 1) for n in ((f4, f3, f2, f1) if deep_supervision else ())
        )
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """(N, C, D, H, W), each size a multiple of 8, to logits (N, out_channels, D, H, W).

        In training with deep supervision a list of logits: the output's, then those of the bottom, of its merge and
        of the decoder levels 3 and 2, upsampled by 8, 8, 4 and 2. The loss is the plain mean of their losses.
        """
        skip1 = self.encoder1(image)
        skip2 = self.encoder2(F.max_pool3d(skip1, 2))
        skip3 = self.encoder3(F.max_pool3d(skip2, 2))
        skip4 = self.encoder4(F.max_pool3d(skip3, 2))
        bottom = self.bottom(skip4)
        merged = self.bottom_merge(torch.cat([bottom, skip4], dim=1))
        x3 = self.decoder3(torch.cat([skip3, _upsample(merged)], dim=1))
        x2 = self.decoder2(torch.cat([skip2, _upsample(x3)], dim=1))
        logits = self.head(self.decoder1(torch.cat([skip1, _upsample(x2)], dim=1)))
        if not is_scripting():  # TorchScript serves inference alone, and does not compile these heads
            levels = zip(self.deep_heads, (bottom, merged, x3, x2), (8, 8, 4, 2), strict=False)  # or there are no heads
            deep = (_upsample(head(features), factor) for head, features, factor in levels)
            return [logits, *deep] if self.training and self.deep_heads else logits
        return logits


def _upsample(x: Tensor, factor: float = 2.0) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="trilinear", align_corners=True)
