"""RRDBNet: the generator of ESRGAN, BSRGAN, Beby-GAN and Real-ESRGAN.

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV Workshops 2018
(arXiv:1809.00219); for x2, Zhang et al., BSRGAN, ICCV 2021 (arXiv:2103.14006), and Wang et al., Real-ESRGAN, ICCV
Workshops 2021 (arXiv:2107.10833). Three channels have 16,697,987 parameters at x4, as published. Written from the
papers' description.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.networks.srresnet import doublings, initialize_small

RESIDUAL_SCALE = 0.2
SLOPE = 0.2  # of the leaky ReLU
CONVOLUTIONS, DENSE_BLOCKS = 5, 3  # in a dense block, and in an RRDB


class _DenseBlock(nn.Module):
    """x + 0.2 conv5; each convolution sees the input and the outputs of all before it."""

    __constants__ = ("residual_scale", "slope")  # for TorchScript, which knows no constants of a module
    residual_scale, slope = RESIDUAL_SCALE, SLOPE

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(features + n * growth, growth if n < CONVOLUTIONS - 1 else features, 3, padding=1)
                for n in range(CONVOLUTIONS)
            ]
        )
        initialize_small(self)

    def forward(self, x: Tensor) -> Tensor:
        seen = y = x
        for n, conv in enumerate(self.convs):
            if n > 0:
                seen = torch.cat([seen, F.leaky_relu(y, self.slope, inplace=True)], dim=1)
            y = conv(seen)
        return x + self.residual_scale * y


class _RRDB(nn.Sequential):
    """The residual-in-residual dense block: x + 0.2 of three dense blocks."""

    __constants__ = ("residual_scale",)
    residual_scale = RESIDUAL_SCALE

    def __init__(self, features: int, growth: int) -> None:
        super().__init__(*[_DenseBlock(features, growth) for _ in range(DENSE_BLOCKS)])

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for block in self:
            y = block(y)
        return x + self.residual_scale * y


class RRDBNet(nn.Module):
    """(N, in_channels, h, w), 0 to 1, to (N, out_channels, scale * h, scale * w), about 0 to 1.

    Published layouts: ``scale=4``; ``scale=2`` is BSRGAN's x2, without the second upsampling; ``scale=2,
    unshuffle=True`` is Real-ESRGAN's x2, which works on a grid of half the input's size and upsamples twice.

    Parameters
    ----------
    in_channels, out_channels : 1 for MR
    features, blocks, growth : 64, 23 and 32 as published; 32, 6 and 16 are a compact size (1.12 M) for CPUs
    scale : 2 or 4
    unshuffle : fold 2x2 pixels into channels first: a fourth of the work for the same depth

    Raises
    ------
    ValueError : for another scale
    """

    __constants__ = ("slope",)
    slope = SLOPE

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: int = 64,
        blocks: int = 23,
        growth: int = 32,
        scale: int = 4,
        unshuffle: bool = False,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.unshuffle = unshuffle
        upsamplings = doublings(scale) + int(unshuffle)
        self.conv_first = nn.Conv2d(in_channels * (4 if unshuffle else 1), features, 3, padding=1)
        self.trunk = nn.Sequential(*[_RRDB(features, growth) for _ in range(blocks)])
        self.conv_trunk = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up = nn.ModuleList([nn.Conv2d(features, features, 3, padding=1) for _ in range(upsamplings)])
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, out_channels, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """The super-resolved image, not clamped. With ``unshuffle`` odd sizes are padded inside by repetition."""
        h, w = lr.shape[-2:]
        x = F.pixel_unshuffle(F.pad(lr, (0, w % 2, 0, h % 2), mode="replicate"), 2) if self.unshuffle else lr
        x = self.conv_first(x)
        x = x + self.conv_trunk(self.trunk(x))
        for conv in self.conv_up:
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2.0, mode="nearest")), self.slope, inplace=True)
        x = self.conv_last(F.leaky_relu(self.conv_hr(x), self.slope, inplace=True))
        return x[..., : self.scale * h, : self.scale * w]
