"""RankSRGAN's ranker: one arm of a Siamese network that learns the order of a quality score.

Zhang et al., ICCV 2019 (arXiv:1908.06382). Written from the paper's description: twelve layers in VGG's style, ten
convolutions of which every second halves the size, global average pooling, so that any size can be ranked, and two
fully connected layers. With the widths of ESRGAN's discriminator, three channels have the published 13.73 M
parameters.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from acuity.errors import any_as_data_error
from acuity.networks.discriminators import SLOPE, vgg_convolutions

HALVINGS = 5


class Ranker(nn.Module):
    """(N, C, H, W), at least 32x32, 0 to 1, to scores (N, 1): the higher, the worse the image, as with NIQE.

    Both arms of the Siamese network are this one, called on each image of a pair.
    """

    def __init__(self, in_channels: int = 1, features: int = 64) -> None:
        super().__init__()
        self.convolutions = vgg_convolutions(in_channels, features, HALVINGS)
        self.regressor = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * features, 100), nn.LeakyReLU(SLOPE), nn.Linear(100, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Scores (N, 1), not clamped."""
        return self.regressor(self.convolutions(image))


class StoredRanker(Ranker):
    """A ranker that reads its file before it first judges, so that a config can be looked into without the file.

    Parameters
    ----------
    path : as ``read_ranker`` takes it
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.is_read = False

    def read(self) -> None:
        """Read the file; raises as ``read_ranker``."""
        self.load_state_dict(read_ranker(self.path).state_dict())
        self.is_read = True

    def forward(self, image: Tensor) -> Tensor:
        """Scores (N, 1), not clamped."""
        if not self.is_read:
            self.read()
        return super().forward(image)


def read_ranker(path: Path) -> Ranker:
    """The ranker of a file that ``acuity train ranker`` wrote; read with ``weights_only=True``.

    Raises
    ------
    DataError : the file is absent or holds something else
    """
    ranker = Ranker()
    with any_as_data_error(
        f"{path} cannot be read as a ranker's weights",
        rule="RankSRGAN needs a ranker that was trained before.",
        remedy="Train one with `acuity train ranker`, and name its best.pt.",
    ):
        ranker.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return ranker
