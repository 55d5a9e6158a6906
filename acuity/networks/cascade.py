"""The coarse-to-fine pair that Acuity releases, of any two 3D networks, and ensembles of networks for its stages."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from collections.abc import Sequence as Seq

from torch import Tensor, nn
from torch.nn import functional as F

from acuity.networks.slicewise import Slices

STRIDE = 16  # voxels; EquiUnet and MONAI's SegResNet halve it three times, deeper ones four


class CoarseToFine(nn.Module):
    """Two networks: one sees the image pooled to half its resolution, the other as it is.

    The coarse one sees the whole brain at once and finds the tumor; the fine one draws its border. The coarse one may
    add to what the fine one finds, and takes nothing away. They are trained one after the other.

    Parameters
    ----------
    coarse, fine : (N, C, D, H, W), each size a multiple of 16, to logits (N, R, D, H, W) in eval mode
    fine_weight : share of the fine network's logits where the coarse network's are above them, 0 to 1; where it is 0,
        ``acuity.models.segmentation.coarse_to_fine`` asks the coarse network alone
    """

    __constants__ = ("stride",)  # for TorchScript, which knows no constants of a module
    stride = STRIDE

    def __init__(self, coarse: nn.Module, fine: nn.Module, fine_weight: float = 0.5) -> None:
        super().__init__()
        self.coarse = coarse
        self.fine = fine
        self.fine_weight = fine_weight

    def coarse_logits(self, image: Tensor) -> Tensor:
        """(N, C, D, H, W) of any size to the coarse network's logits (N, R, D, H, W)."""
        halved = self.coarse(F.avg_pool3d(pad_to_multiple(image, 2 * self.stride), 2))
        assert isinstance(halved, Tensor)  # no list of logits, as of deep supervision in training
        logits = F.interpolate(halved, scale_factor=2.0, mode="trilinear", align_corners=False)
        return _crop_like(logits, image)

    def fine_logits(self, image: Tensor) -> Tensor:
        """(N, C, D, H, W) of any size to the fine network's logits (N, R, D, H, W)."""
        logits = self.fine(pad_to_multiple(image, self.stride))
        assert isinstance(logits, Tensor)
        return _crop_like(logits, image)

    def search_logits(self, image: Tensor) -> Tensor | None:
        """(N, C, D, H, W) of any size to logits (N, R, D, H, W) of a quick look at every slice; None for 3D networks.

        The slices of the fine stage's first plane are dealt to its members in turn: all of them together look at the
        image once, which takes a twelfth of the time of four members and three planes.
        """
        stage = list(self.fine.networks) if isinstance(self.fine, Ensemble) else [self.fine]
        members = [member for member in stage if isinstance(member, Slices)]
        if len(members) < len(stage):
            return None
        axis = members[0].across[0]
        members = members[: image.shape[axis]]
        parts = [member.some(image, n, len(members)).movedim(axis, 0) for n, member in enumerate(members)]
        slices = parts[0].new_empty((image.shape[axis], *parts[0].shape[1:]))
        for n, part in enumerate(parts):
            slices[n :: len(members)] = part
        return slices.movedim(0, axis)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, D, H, W) z-scored over the brain, 0 outside it, of any size, to logits (N, R, D, H, W)."""
        return self.joined(self.fine_logits(image), self.coarse_logits(image))

    def joined(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Logits of both stages: their weighted mean where the coarse network's are higher, else the fine one's."""
        return fine + (1 - self.fine_weight) * (coarse - fine).clamp(min=0)


class Ensemble(nn.Module):
    """Several networks for one task, each trained by itself; their logits are averaged.

    Parameters
    ----------
    networks : from the same images to logits of the same shape, in eval mode; or one network, to be copied
    members : how many copies of one network there are. They have equal weights until their own are loaded
    """

    def __init__(self, networks: nn.Module | Seq[nn.Module], members: int = 1) -> None:
        super().__init__()
        if isinstance(networks, nn.Module):
            networks = [copy.deepcopy(networks) for _ in range(members)]
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        """The images of the members to the mean of their logits."""
        total = image
        for n, network in enumerate(self.networks):
            logits = network(image)
            total = logits if n == 0 else total + logits
        return total / len(self.networks)


def part_state(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The weights of one part of a ``CoarseToFine``, by the part's own names.

    The heads of deep supervision are dropped: they serve training alone.

    Parameters
    ----------
    state : state_dict of a ``CoarseToFine`` that holds the part; or of one whose whole stage is the part, as
        ``acuity.research.training.cascade`` leaves it of an ensemble's member; or of the part alone
    part : "coarse", "fine", or a member of an ensemble such as "fine.networks.0"
    """
    stage = part.split(".")[0]
    start = next((f"{name}." for name in (part, stage) if any(key.startswith(f"{name}.") for key in state)), "")
    own = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
    return {key: value for key, value in own.items() if not key.startswith("deep_heads.")}


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Zero-pad the last three axes at their far end to a multiple."""
    d, h, w = image.shape[-3:]
    return F.pad(image, (0, -w % multiple, 0, -h % multiple, 0, -d % multiple))


def _crop_like(logits: Tensor, image: Tensor) -> Tensor:
    d, h, w = image.shape[-3:]
    return logits[..., :d, :h, :w]
