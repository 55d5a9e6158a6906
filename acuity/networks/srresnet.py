"""SRResNet as RankSRGAN trains it: residual blocks without batch norm, sub-pixel upsampling.

Zhang et al., "RankSRGAN: Generative Adversarial Networks with Ranker for Image Super-Resolution", ICCV 2019
(arXiv:1908.06382), on Ledig et al., CVPR 2017 (arXiv:1609.04802). Three channels, 64 features and 16 blocks have
1,554,499 parameters, as published. Written from the papers' description.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

INITIAL_SCALE = 0.1  # residual branches start small, so that a deep network without batch norm trains stably


class _ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


class SRResNet(nn.Module):
    """(N, in_channels, h, w), 0 to 1, to (N, out_channels, scale * h, scale * w), about 0 to 1.

    Parameters
    ----------
    in_channels, out_channels : 1 for MR
    features, blocks : 64 and 16 as published
    scale : 2 or 4 (published)

    Raises
    ------
    ValueError : for another scale
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 1, features: int = 64, blocks: int = 16, scale: int = 4
    ) -> None:
        super().__init__()
        self.scale = scale
        self.conv_first = nn.Conv2d(in_channels, features, 3, padding=1)
        self.trunk = nn.Sequential(*[_ResidualBlock(features) for _ in range(blocks)])
        self.conv_trunk = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up = nn.ModuleList([nn.Conv2d(features, 4 * features, 3, padding=1) for _ in range(doublings(scale))])
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, out_channels, 3, padding=1)
        initialize_small(self)

    def forward(self, lr: Tensor) -> Tensor:
        """The super-resolved image, not clamped."""
        head = self.conv_first(lr)
        x = head + self.conv_trunk(self.trunk(head))
        for conv in self.conv_up:
            x = F.relu(F.pixel_shuffle(conv(x), 2), inplace=True)
        return self.conv_last(F.relu(self.conv_hr(x), inplace=True))


def doublings(scale: int) -> int:
    """How often the size is doubled to reach a scale of 2 or 4; ValueError for another scale."""
    if scale not in (2, 4):
        raise ValueError(f"scale is {scale}; the published upsamplings double the size once or twice: use 2 or 4")
    return scale // 2


def initialize_small(network: nn.Module) -> None:
    """Kaiming's normal weights (fan_in, ReLU) times 0.1 and biases 0, in place, for all convolutions of a network."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            module.weight.data *= INITIAL_SCALE
            if module.bias is not None:
                nn.init.zeros_(module.bias)
