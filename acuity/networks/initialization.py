"""Initialization of generators as bilinear interpolation, where there are no pretrained weights.

From random weights the generators below first have to learn to copy their input. SRResCycGAN's interpolates first and
does not. Initialized as interpolation, all spend their iterations on the detail that interpolation lacks. The filters
of one feature channel are set; the others keep their random weights.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from acuity.networks.rrdbnet import RRDBNet
from acuity.networks.srresnet import SRResNet

_IDENTITY = torch.tensor([0.0, 1.0, 0.0])
_LINEAR_AFTER_NEAREST = torch.tensor([0.25, 0.5, 0.25])  # after nearest-neighbor doubling: linear interpolation
_LINEAR_SUBPIXELS = (torch.tensor([0.25, 0.75, 0.0]), torch.tensor([0.0, 0.75, 0.25]))  # both halves of a pixel


@torch.no_grad()
def start_as_interpolation(network: nn.Module) -> None:
    """Make an RRDBNet or SRResNet with one channel in and out bilinear interpolation, in place.

    It is exact where the image is not negative, and away from its rim, which the networks pad with zeros. Networks of
    other classes, and an RRDBNet that unshuffles, stay as they are.
    """
    if not isinstance(network, RRDBNet | SRResNet) or getattr(network, "unshuffle", False):
        return
    for conv in (network.conv_first, network.conv_hr, network.conv_last):
        _set_filter(conv, 0, torch.outer(_IDENTITY, _IDENTITY))
    _set_filter(network.conv_trunk, 0, torch.zeros(3, 3))
    for doubling in network.conv_up:
        if isinstance(network, RRDBNet):
            _set_filter(doubling, 0, torch.outer(_LINEAR_AFTER_NEAREST, _LINEAR_AFTER_NEAREST))
        else:
            for row, (vertical, horizontal) in enumerate(product(_LINEAR_SUBPIXELS, _LINEAR_SUBPIXELS)):
                _set_filter(doubling, row, torch.outer(vertical, horizontal))


def _set_filter(conv: nn.Module, output: int, kernel: Tensor) -> None:
    """Make one output channel of a convolution the first input channel, filtered by ``kernel`` (3, 3)."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    conv.weight[output] = 0
    conv.weight[output, 0] = kernel
    conv.bias[output] = 0
