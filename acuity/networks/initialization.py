"""A start for networks without pretrained weights: what they first give is the interpolated image.

From random weights the generators below first have to learn to copy; SRResCycGAN's, which interpolates first, does
not. Begun as interpolation, all spend their iterations on what interpolation leaves out. Only one path of features is
set, the others keep their random weights.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from acuity.networks.rrdbnet import RRDBNet
from acuity.networks.srresnet import SRResNet

_IDENTITY = torch.tensor([0.0, 1.0, 0.0])
_AFTER_REPETITION = torch.tensor([0.25, 0.5, 0.25])  # nearest doubling and this are linear interpolation
_HALVES = (torch.tensor([0.25, 0.75, 0.0]), torch.tensor([0.0, 0.75, 0.25]))  # of a pixel, linearly interpolated


@torch.no_grad()
def start_as_interpolation(network: nn.Module) -> None:
    """Make an RRDBNet or SRResNet with one channel in and out bilinear interpolation, in place.

    Exactly so where the image is not negative and away from its rim, which the networks pad with zeros. Networks of
    other classes, and an RRDBNet that unshuffles, are left as they are.
    """
    if not isinstance(network, RRDBNet | SRResNet) or getattr(network, "unshuffle", False):
        return
    _carry(network.conv_first, 0, _kernel(_IDENTITY, _IDENTITY))
    _carry(network.conv_trunk, 0, torch.zeros(3, 3))
    for conv in network.conv_up:
        assert isinstance(conv, nn.Conv2d)
        if isinstance(network, RRDBNet):
            _carry(conv, 0, _kernel(_AFTER_REPETITION, _AFTER_REPETITION))
        else:
            for row, (vertical, horizontal) in enumerate(product(_HALVES, _HALVES)):
                _carry(conv, row, _kernel(vertical, horizontal))
    _carry(network.conv_hr, 0, _kernel(_IDENTITY, _IDENTITY))
    _carry(network.conv_last, 0, _kernel(_IDENTITY, _IDENTITY))


def _kernel(vertical: Tensor, horizontal: Tensor) -> Tensor:
    return vertical[:, None] * horizontal


def _carry(conv: nn.Conv2d, output: int, kernel: Tensor) -> None:
    """Make an output of a convolution the first input's, by ``kernel``."""
    conv.weight[output] = 0
    conv.weight[output, 0] = kernel
    assert conv.bias is not None
    conv.bias[output] = 0
