"""SRResCycGAN's generator: a residual network on the interpolated image.

Umer, Micheloni, "Deep Cyclic Generative Adversarial Residual Convolutional Networks for Real Image
Super-Resolution", ECCV Workshops 2020 (arXiv:2009.03693); SRResCGAN: Umer, Foresti, Micheloni, CVPR
Workshops 2020 (arXiv:2005.00953). Three channels have 380,356 parameters, as published.
"""

from __future__ import annotations

import math

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

INTENSITY_SCALE = 255.0  # the published weights work on 0..255, the interface on 0..1
MINIMUM_SIGMA = 1.0  # of 255: the projection's floor, so that a clean image may still be sharpened
_NORMALIZED = "parametrizations.weight.original"  # torch's name of weight norm's gain (0) and direction (1)


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
    projection : limit the residual's norm by the noise level estimated from the image, as published
    scale : interpolate the image bilinearly by it first, as published (4); 1 takes an interpolated image
    foreground_sigma : estimate that level in the foreground, with a floor. The published estimate, over the whole
        image (False), is zero for a skull-stripped brain, and the output exactly the interpolated image
    """

    def __init__(
        self,
        in_channels: int = 1,
        features: int = 64,
        blocks: int = 5,
        projection: bool = False,
        foreground_sigma: bool = True,
        scale: int = 1,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = weight_norm(nn.Conv2d(in_channels, features, 5, padding=2, padding_mode="reflect"))
        self.layer1 = nn.Sequential(*[_PreActivationBlock(features, shortcut=n > 0) for n in range(blocks)])
        self.conv_out = weight_norm(nn.ConvTranspose2d(features, in_channels, 5, padding=2))
        self.alpha = nn.Parameter(torch.zeros(1))
        self.projection = projection
        self.foreground_sigma = foreground_sigma

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, h, w), 0 to about 1, to the super-resolved image (N, C, scale * h, scale * w), at least 0."""
        if self.scale != 1:
            image = F.interpolate(image, scale_factor=self.scale, mode="bilinear", align_corners=False)
        scaled = image * INTENSITY_SCALE
        residual = self.conv_out(self.layer1(self.conv1(scaled)))
        if self.projection:
            sigma = foreground_noise_sigma(scaled) if self.foreground_sigma else noise_sigma(scaled)
            residual = project(residual, self.alpha, sigma)
        return torch.clamp_min(scaled - residual, 0.0) / INTENSITY_SCALE


def project(residual: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Limit the L2 norm of each residual (N, C, H, W) to exp(alpha) * sigma * sqrt(CHW - 1), sigma (N,)."""
    size = residual[0].numel()
    limit = torch.exp(alpha) * sigma.to(residual) * math.sqrt(size - 1)
    norm = residual.flatten(1).norm(dim=1)
    tiny = torch.finfo(norm.dtype).tiny  # no residual and no noise: 0, not 0 / 0
    return residual * (limit / torch.maximum(norm, limit).clamp_min(tiny))[:, None, None, None]


def noise_sigma(image: Tensor) -> Tensor:
    """Noise level (N,) as published: MAD / 0.6745 of the db7 diagonal wavelet band over the whole image.

    Zero where more than half of the image is an exactly constant background.
    """
    return torch.tensor([_sigma(np.abs(_diagonal_band(item))) for item in image.detach().cpu().numpy()])


def foreground_noise_sigma(image: Tensor) -> Tensor:
    """Noise level (N,) as :func:`noise_sigma`, where the image (on a scale of 0 to 255) is positive, at least 1."""
    sigmas = []
    for item in image.detach().cpu().numpy():
        band = np.abs(_diagonal_band(item)[item[:, ::2, ::2] > 0])
        sigmas.append(max(MINIMUM_SIGMA, _sigma(band) if band.size else 0.0))
    return torch.tensor(sigmas)


def _diagonal_band(item: NDArray[np.float32]) -> NDArray[np.float32]:
    # Periodised, the band has one sample for each second pixel, so that it can be masked.
    _, (_, _, diagonal) = pywt.dwt2(item, "db7", mode="periodization", axes=(-2, -1))
    return diagonal


def _sigma(band: NDArray[np.float32]) -> float:
    return float(np.median(band)) / 0.6745


def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Map a published checkpoint's keys, ``alpha`` and ``model.*`` with ``weight_g`` and ``weight_v``, to ours."""
    mapped = {}
    for key, value in state.items():
        name = key.removeprefix("model.")
        name = name.replace("weight_g", f"{_NORMALIZED}0").replace("weight_v", f"{_NORMALIZED}1")
        mapped[name] = value
    return mapped


def fold_to_one_channel(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our three-channel state_dict for one channel.

    The first convolution is summed over its inputs and the last averaged over its outputs, which equals
    replicating the image, running and averaging (without the projection, and where nothing is clamped). Folded
    weights are no longer normalized by their own norm, so gain and direction are recomputed.
    """
    folded = dict(state)
    for conv, fold in (("conv1", torch.sum), ("conv_out", torch.mean)):  # axis 1 is the transposed one's outputs
        gain, direction = (f"{conv}.{_NORMALIZED}{n}" for n in (0, 1))
        weight = fold(state[direction] * state[gain] / _norm(state[direction]), dim=1, keepdim=True)
        folded[gain], folded[direction] = _norm(weight), weight
    folded["conv_out.bias"] = state["conv_out.bias"].mean(dim=0, keepdim=True)
    return folded


def _norm(weight: Tensor) -> Tensor:
    """The norm (F, 1, 1, 1) of each slice along the first axis, as weight norm has it."""
    return weight.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
