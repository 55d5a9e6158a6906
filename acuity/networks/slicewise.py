"""2D networks on volumes: every axial slice for itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MULTIPLE = 32  # pixels; the 2D networks of ours halve a slice five times at most
AT_ONCE = 16  # slices in memory


class AxialSlices(nn.Module):
    """Shows a 2D network a volume slice by slice, so that 2D and 3D networks are trained and run alike.

    Parameters
    ----------
    network : (N, C, H, W), multiples of 32, to (N, C', H, W)
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, I, J, K) of any size, axial slices along k, to logits (N, C', I, J, K)."""
        n, channels, i, j, k = image.shape
        slices = image.permute(0, 4, 1, 2, 3).reshape(n * k, channels, i, j)
        slices = F.pad(slices, (0, -j % MULTIPLE, 0, -i % MULTIPLE))
        logits = torch.cat([self.network(part) for part in slices.split(AT_ONCE)])[..., :i, :j]
        return logits.reshape(n, k, -1, i, j).permute(0, 2, 3, 4, 1)
