"""SRResCycGAN's generator: a residual network on the interpolated image.

Umer, Micheloni, "Deep Cyclic Generative Adversarial Residual Convolutional Networks for Real Image
Super-Resolution", ECCV Workshops 2020 (arXiv:2009.03693); SRResCGAN: Umer, Foresti, Micheloni, CVPR
Workshops 2020 (arXiv:2005.00953). Three channels have 380,356 parameters, as published.

The published network also limits the residual's norm by the noise level that it estimates over the whole image. That
level is 0 for a skull-stripped brain, and the projection cost up to 2 dB there, so this network goes without it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

INTENSITY_SCALE = 255.0  # the published weights work on 0..255, the interface on 0..1


class _PreActivationBlock(nn.Module):
    """PReLU, reflect-padded conv 3x3, twice."""

    def __init__(self, features: int, shortcut: bool) -> None:
        super().__init__()
        self.relu1 = nn.PReLU(features, init=0.1)
        self.conv1 = weight_norm(nn.Conv2d(features, features, 3, padding=1, padding_mode="reflect"))
        self.relu2 = nn.PReLU(features, init=0.1)
        self.conv2 = weight_norm(nn.Conv2d(features, features, 3, padding=1, padding_mode="reflect"))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.relu2(self.conv1(self.relu1(x))))
        return out + x if self.shortcut else out


class SRResCycGAN(nn.Module):
    """The generator; at ``scale`` 1 without its interpolation, so that any target grid can be reached.

    Parameters
    ----------
    in_channels : 1 for MR
    features, blocks : 64 and 5 as published; the first block has no shortcut
    scale : interpolate the image bilinearly by it first, as published (4); 1 takes an interpolated image
    projection : released configurations say False; the network has none

    Raises
    ------
    ValueError : where a projection is asked for
    """

    def __init__(
        self, in_channels: int = 1, features: int = 64, blocks: int = 5, scale: int = 1, *, projection: bool = False
    ) -> None:
        super().__init__()
        if projection:
            raise ValueError("this network has no L2 projection of the residual; leave `projection` out")
        self.scale, self.intensity_scale = scale, INTENSITY_SCALE  # TorchScript knows no constants of a module
        self.conv1 = weight_norm(nn.Conv2d(in_channels, features, 5, padding=2, padding_mode="reflect"))
        self.layer1 = nn.Sequential(*[_PreActivationBlock(features, shortcut=n > 0) for n in range(blocks)])
        self.conv_out = weight_norm(nn.ConvTranspose2d(features, in_channels, 5, padding=2))
        self.alpha = nn.Parameter(torch.zeros(1))  # of the projection: unused, but all published weights have it

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, h, w), 0 to about 1, to the super-resolved image (N, C, scale * h, scale * w), at least 0."""
        if self.scale != 1:
            image = F.interpolate(image, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        scaled = image * self.intensity_scale
        residual = self.conv_out(self.layer1(self.conv1(scaled)))
        return torch.clamp_min(scaled - residual, 0.0) / self.intensity_scale

    def __prepare_scriptable__(self) -> SRResCycGAN:
        """The same network with plain weights: ``torch.jit.script`` asks for it, and cannot script weight norm."""
        conv = self.conv1
        # A deep copy would share the classes that hold the parametrized weights, and take them from this network.
        plain = SRResCycGAN(conv.in_channels, conv.out_channels, len(self.layer1), self.scale)
        plain.load_state_dict(self.state_dict())
        plain.to(conv.bias.device).train(self.training)
        for module in plain.modules():
            if is_parametrized(module, "weight"):
                remove_parametrizations(module, "weight")
        return plain
