"""2D networks on volumes: every slice of one plane for itself."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Plane = Literal["axial", "coronal", "sagittal"]

MULTIPLE = 32  # pixels; the 2D networks of ours halve a slice five times at most
AT_ONCE = 16  # slices in memory


class Slices(nn.Module):
    """Shows a 2D network a volume slice by slice, so that 2D and 3D networks are trained and run alike.

    In training a volume is a patch whose outermost ``neighbors`` slices on both sides serve as neighbors alone: they
    get no logits, as theirs are unknown. Otherwise it is a whole brain, beyond which all is 0.

    Parameters
    ----------
    network : (N, (2 neighbors + 1) C, H, W), multiples of 32, to (N, C', H, W)
    plane : of the slices, for volumes whose i runs to the left or right, j to the front or back, k up or down
    neighbors : slices on each side that the network sees beside the one that it segments ("2.5D"); all channels of
        the first of them come first

    Raises
    ------
    ValueError : for another plane
    """

    def __init__(self, network: nn.Module, plane: Plane = "axial", neighbors: int = 0) -> None:
        super().__init__()
        if plane not in get_args(Plane):
            raise ValueError(f"the plane is {plane!r}; there are {', '.join(get_args(Plane))}")
        # A quarter faster on a CPU; torch's type stubs do not know the argument.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.across = {"axial": 4, "coronal": 3, "sagittal": 2}[plane]  # axis of (N, C, I, J, K)
        self.neighbors = neighbors

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, I, J, K) of any size to logits (N, C', I, J, K), fewer slices of them in training."""
        stacked = self._with_neighbors(image.movedim(self.across, 1))
        n, slices = stacked.shape[:2]
        logits = self._of_slices(stacked.flatten(0, 1))
        return logits.unflatten(0, (n, slices)).movedim(1, self.across)

    def _with_neighbors(self, slices: Tensor) -> Tensor:
        """(N, S, C, H, W) to (N, S', (2 neighbors + 1) C, H, W)."""
        if not self.training:
            slices = F.pad(slices, (0, 0) * 3 + (self.neighbors, self.neighbors))
        return slices.unfold(1, 2 * self.neighbors + 1, 1).movedim(-1, 2).flatten(2, 3)

    def _of_slices(self, slices: Tensor) -> Tensor:
        height, width = slices.shape[-2:]
        padded = F.pad(slices, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        return torch.cat([self.network(part) for part in padded.split(AT_ONCE)])[..., :height, :width]
