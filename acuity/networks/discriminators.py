"""Discriminators: (N, C, H, W) to logits. All were written from the papers' descriptions."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of every leaky ReLU


class VGGDiscriminator(nn.Module):
    """The VGG-style discriminator of ESRGAN, RankSRGAN, Beby-GAN and SRResCGAN: (N, C, size, size) to logits (N, 1).

    The convolutions of :func:`vgg_convolutions`, then two fully connected layers. Published with three channels: size
    128 (14.50 M parameters), size 192 with 32 features (5.29 M) and size 296 with 5 halvings (17.83 M).

    Parameters
    ----------
    size : height and width of its input
    halvings : how often the size is halved, rounded down; the default leaves 3 or 4
    """

    def __init__(self, in_channels: int = 1, size: int = 128, features: int = 64, halvings: int | None = None) -> None:
        super().__init__()
        if halvings is None:
            halvings = 1
            while size >> halvings > 4:
                halvings += 1
        side = size >> halvings
        channels = features * min(2 ** (halvings - 1), 8)
        self.convolutions = vgg_convolutions(in_channels, features, halvings)
        self.classifier = _classifier(channels * side**2, 100)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, 1)."""
        return self.classifier(self.convolutions(image))


def vgg_convolutions(in_channels: int, features: int, halvings: int) -> nn.Sequential:
    """(N, in_channels, H, W) to (N, F, h, w), F at most 8 ``features``.

    There are ``halvings`` pairs of conv 3x3 and conv 4x4 of stride 2, whose channels double up to 8 ``features``. Each
    is followed by batch norm, except the first, and leaky ReLU.
    """
    layers: list[nn.Module] = []
    channels = in_channels
    for n in range(halvings):
        wider = features * min(2**n, 8)
        layers.append(nn.Conv2d(channels, wider, 3, padding=1, bias=n == 0))
        layers += [nn.LeakyReLU(SLOPE)] if n == 0 else [nn.BatchNorm2d(wider), nn.LeakyReLU(SLOPE)]
        layers += [nn.Conv2d(wider, wider, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(wider)]
        layers.append(nn.LeakyReLU(SLOPE))
        channels = wider
    return nn.Sequential(*layers)


def _classifier(inputs: int, hidden: int) -> nn.Sequential:
    """Two fully connected layers to one logit."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, 1))


class SRGANDiscriminator(nn.Module):
    """SRGAN's discriminator: (N, C, size, size) to logits (N, 1), without the paper's last sigmoid.

    Ledig et al., CVPR 2017 (arXiv:1609.04802): eight conv 3x3, every second of stride 2, 64 to 512 features, batch
    norm except after the first; two fully connected layers. 23.57 M parameters as published, with size 96.

    Parameters
    ----------
    size : height and width of its input, a multiple of 16
    """

    def __init__(self, in_channels: int = 1, size: int = 96, features: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, features, 3, padding=1), nn.LeakyReLU(SLOPE)]
        channels = features
        for n in range(1, 8):
            wider = features * 2 ** (n // 2)
            layers += [nn.Conv2d(channels, wider, 3, stride=1 + n % 2, padding=1), nn.BatchNorm2d(wider)]
            layers.append(nn.LeakyReLU(SLOPE))
            channels = wider
        self.convolutions = nn.Sequential(*layers)
        self.classifier = _classifier(channels * (size // 16) ** 2, 16 * features)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, 1)."""
        return self.classifier(self.convolutions(image))


class UNetDiscriminator(nn.Module):
    """The U-Net of BSRGAN and Real-ESRGAN: (N, C, H, W), sizes multiples of 8, to a logit for each pixel.

    Wang et al., ICCV Workshops 2021 (arXiv:2107.10833), after Schönfeld et al., CVPR 2020 (arXiv:2002.12655): conv
    3x3; three conv 4x4 of stride 2; three times bilinear x2, conv 3x3 and the encoder's features added; two conv 3x3
    and a last one. Spectral norm on all but the first and the last. 4.38 M parameters as published.
    """

    def __init__(self, in_channels: int = 1, features: int = 64) -> None:
        super().__init__()
        widths = [features * factor for factor in (1, 2, 4, 8)]
        self.conv_first = nn.Conv2d(in_channels, features, 3, padding=1)
        self.down = nn.ModuleList([_normalized(a, b, 4) for a, b in pairwise(widths)])
        self.up = nn.ModuleList([_normalized(a, b, 3) for a, b in pairwise(reversed(widths))])
        self.convs_hr = nn.ModuleList([_normalized(features, features, 3) for _ in range(2)])
        self.conv_last = nn.Conv2d(features, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, 1, H, W)."""
        x = F.leaky_relu(self.conv_first(image), SLOPE)
        skips = []
        for conv in self.down:
            skips.append(x)
            x = F.leaky_relu(conv(x), SLOPE)
        for conv in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = F.leaky_relu(conv(x), SLOPE) + skips.pop()
        for conv in self.convs_hr:
            x = F.leaky_relu(conv(x), SLOPE)
        return self.conv_last(x)


def _normalized(in_channels: int, out_channels: int, kernel: int) -> nn.Module:
    """A convolution without bias under spectral norm; kernel 4 halves the size, 3 keeps it."""
    stride = 2 if kernel == 4 else 1
    return spectral_norm(nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=1, bias=False))
