"""A residual network for whole volumes that works at half their resolution.

It sees a volume that cubic interpolation brought to the target grid, whatever was measured. Each 2x2x2 voxels become
channels (sub-voxel shuffle; Shi et al., CVPR 2016, arXiv:1609.05158), residual blocks without batch norm work there
(Lim et al., EDSR, CVPR Workshops 2017, arXiv:1707.02921), and what they find is added to the volume. A volume
measured at twice the spacing loses nothing by that, and costs an eighth of the operations.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHUFFLE = 2  # voxels along each axis that become channels


DETAIL, RESIDUAL = 10.0, 0.1  # detail goes in and comes out as numbers of about 1; training is 5 times as fast so
SURROUNDINGS = 5  # voxels: detail is the difference from the mean over this window


class _Block(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(features, features, 3, padding=1)
        self.conv2 = nn.Conv3d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


class VolumeSRResNet(nn.Module):
    """(N, 4, D, H, W) to (N, 1, D, H, W); D, H and W are even.

    The channels are the interpolated volume, 0 to about 1, and the distance of each voxel from the nearest measured
    sample along each axis, see ``acuity.models.super_resolution_volume.distances``.

    Parameters
    ----------
    features, blocks : of the trunk
    """

    scale = 1  # it restores a volume that is already on the target grid
    volumes = True  # as a whole, not its slices

    def __init__(self, features: int = 48, blocks: int = 5) -> None:
        super().__init__()
        self.head = nn.Conv3d(1 + 4 * SHUFFLE**3, features, 3, padding=1)
        self.trunk = nn.Sequential(*[_Block(features) for _ in range(blocks)])
        self.tail = nn.Conv3d(features, SHUFFLE**3, 3, padding=1)
        for block in self.trunk:
            assert isinstance(block, _Block)
            block.conv2.weight.data *= (
                0.1  # residual branches start small, so that training without batch norm is stable
            )
        nn.init.zeros_(self.tail.weight)  # it starts as interpolation
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.bias)

    def forward(self, image: Tensor) -> Tensor:
        """The restored volume, not clamped."""
        volume = image[:, :1]
        details = DETAIL * (volume - F.avg_pool3d(volume, SURROUNDINGS, 1, SURROUNDINGS // 2, count_include_pad=False))
        x = self.head(torch.cat([F.avg_pool3d(volume, 2), unshuffled(details), unshuffled(image[:, 1:])], 1))
        return image[:, :1] + RESIDUAL * shuffled(self.tail(self.trunk(x)))


def unshuffled(volume: Tensor) -> Tensor:
    """(N, C, D, H, W) to (N, 8 C, D/2, H/2, W/2)."""
    n, c, *size = volume.shape
    d, h, w = (s // SHUFFLE for s in size)
    parts = volume.reshape(n, c, d, SHUFFLE, h, SHUFFLE, w, SHUFFLE)
    return parts.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * SHUFFLE**3, d, h, w)


def shuffled(channels: Tensor) -> Tensor:
    """(N, 8 C, d, h, w) to (N, C, 2 d, 2 h, 2 w), the inverse of the above."""
    n, c, d, h, w = channels.shape
    parts = channels.reshape(n, c // SHUFFLE**3, SHUFFLE, SHUFFLE, SHUFFLE, d, h, w)
    return parts.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // SHUFFLE**3, SHUFFLE * d, SHUFFLE * h, SHUFFLE * w)
