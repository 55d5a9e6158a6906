"""2D networks on volumes, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Plane = Literal["axial", "coronal", "sagittal"]

MULTIPLE = 32  # pixels; our 2D networks halve a slice at most five times
AT_ONCE = 16  # slices in memory


class Slices(nn.Module):
    """Shows a 2D network a volume slice by slice, so that 2D and 3D networks are trained and run alike.

    In training a volume is a patch whose outermost ``neighbors`` slices on both sides serve as neighbors alone: they
    get no logits, as their own neighbors are unknown. Otherwise every slice gets logits, and the volume is padded with
    0, which is right for a whole brain and for a box with slices to spare. A network of several planes is trained on
    patches turned into any of them (``acuity.research.sampling.patches.draw_matrix``), which it sees as the first
    plane. In evaluation it sees the slices of every plane and gives the mean of their logits.

    Parameters
    ----------
    network : (N, (2 neighbors + 1) C, H, W), multiples of 32, to (N, C', H, W)
    planes : of the slices, for volumes whose i runs to the left or right, j to the front or back, k up or down
    neighbors : slices on each side that the network sees beside the one that it segments ("2.5D"); the channels come
        slice by slice

    Raises
    ------
    ValueError : for another plane
    """

    def __init__(self, network: nn.Module, planes: Plane | Seq[Plane] = "axial", neighbors: int = 0) -> None:
        super().__init__()
        planes = [planes] if isinstance(planes, str) else planes
        if not planes or not set(planes) <= set(get_args(Plane)):
            raise ValueError(f"the planes are {planes!r}; there are {', '.join(get_args(Plane))}")
        # A quarter faster on a CPU; torch's type stubs do not know the argument.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.across = [{"axial": 4, "coronal": 3, "sagittal": 2}[plane] for plane in planes]  # axes of (N, C, I, J, K)
        self.neighbors = neighbors
        self.multiple, self.at_once = MULTIPLE, AT_ONCE  # TorchScript knows no constants of a module

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, I, J, K) of any size to logits (N, C', I, J, K), fewer slices of them in training."""
        logits = [self._across(image, axis) for axis in (self.across[:1] if self.training else self.across)]
        return torch.stack(logits).mean(dim=0)

    def some(self, image: Tensor, first: int, step: int) -> Tensor:
        """(N, C, I, J, K) to the logits of every ``step``-th slice from ``first`` on, of the first plane alone."""
        return self._across(image, self.across[0], first, step)

    def _across(self, image: Tensor, axis: int, first: int = 0, step: int = 1) -> Tensor:
        stacked = self._with_neighbors(image.movedim(axis, 1))[:, first::step]
        n, slices = stacked.shape[:2]
        logits = self._slice_logits(stacked.flatten(0, 1))
        return logits.unflatten(0, (n, slices)).movedim(1, axis)

    def _with_neighbors(self, slices: Tensor) -> Tensor:
        """(N, S, C, H, W) to (N, S', (2 neighbors + 1) C, H, W)."""
        if not self.training:
            slices = F.pad(slices, (0, 0, 0, 0, 0, 0, self.neighbors, self.neighbors))
        return slices.unfold(1, 2 * self.neighbors + 1, 1).movedim(-1, 2).flatten(2, 3)

    def _slice_logits(self, slices: Tensor) -> Tensor:
        height, width = slices.shape[-2:]
        padded = F.pad(slices, (0, -width % self.multiple, 0, -height % self.multiple))
        return torch.cat([self.network(part) for part in padded.split(self.at_once)])[..., :height, :width]


def sees_several_planes(network: nn.Module) -> bool:
    """Whether a 2D network in it sees slices of several planes, so that patches may lie in any of these planes."""
    return any(isinstance(module, Slices) and len(module.across) > 1 for module in network.modules())
