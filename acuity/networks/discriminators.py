"""Discriminators: (N, C, H, W) to logits."""

from __future__ import annotations

from torch import Tensor, nn


class VGGDiscriminator(nn.Module):
    """The VGG-style discriminator of ESRGAN and SRResCGAN: (N, C, size, size) to logits (N, 1).

    A conv 3x3, then pairs of conv 3x3 and conv 4x4 of stride 2 with batch norm, doubling up to 8 ``features``,
    down to 4x4 or 3x3; two fully connected layers. Size 128 and 64 features are the published ones (14.50 M).

    Parameters
    ----------
    size : height and width of its input, 3 or 4 times a power of 2
    """

    def __init__(self, in_channels: int = 1, size: int = 128, features: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, features, 3, padding=1), nn.LeakyReLU(0.2)]
        channels, side = features, size
        layers += self._strided(channels, channels)
        side //= 2
        while side > 4:
            wider = min(2 * channels, 8 * features)
            layers += [nn.Conv2d(channels, wider, 3, padding=1, bias=False), nn.BatchNorm2d(wider), nn.LeakyReLU(0.2)]
            layers += self._strided(wider, wider)
            channels, side = wider, side // 2
        self.convolutions = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * side * side, 100), nn.LeakyReLU(0.2), nn.Linear(100, 1)
        )

    @staticmethod
    def _strided(in_channels: int, out_channels: int) -> list[nn.Module]:
        conv = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(out_channels), nn.LeakyReLU(0.2)]

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, 1)."""
        return self.classifier(self.convolutions(image))
