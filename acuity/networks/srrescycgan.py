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
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

INTENSITY_SCALE = 255.0  # the published weights work on 0..255, the interface on 0..1
MINIMUM_SIGMA = 1.0  # of 255: the projection's floor, so that a clean image may still be sharpened


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
    """The generator without its interpolation, so that any target grid can be reached.

    Parameters
    ----------
    in_channels : 1 for MR
    features, blocks : 64 and 5 as published; the first block has no shortcut
    projection : limit the residual's norm by the noise level estimated from the image, as published. On
        skull-stripped brains the estimate must come from the foreground and have a floor, or the output is
        exactly the interpolated image.
    """

    def __init__(
        self, in_channels: int = 1, features: int = 64, blocks: int = 5, projection: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = weight_norm(nn.Conv2d(in_channels, features, 5, padding=2, padding_mode="reflect"))
        self.layer1 = nn.Sequential(*[_PreActivationBlock(features, shortcut=n > 0) for n in range(blocks)])
        self.conv_out = weight_norm(nn.ConvTranspose2d(features, in_channels, 5, padding=2))
        self.alpha = nn.Parameter(torch.zeros(1))
        self.projection = projection

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W), interpolated to the target grid, 0 to about 1, to the super-resolved image, at least 0."""
        scaled = image * INTENSITY_SCALE
        residual = self.conv_out(self.layer1(self.conv1(scaled)))
        if self.projection:
            residual = project(residual, scaled, self.alpha)
        return torch.clamp_min(scaled - residual, 0.0) / INTENSITY_SCALE


def project(residual: Tensor, image: Tensor, alpha: Tensor) -> Tensor:
    """Limit the L2 norm of each residual to exp(alpha) * sigma * sqrt(CHW - 1), sigma the image's noise level."""
    sigma = foreground_noise_sigma(image)
    size = residual[0].numel()
    limit = torch.exp(alpha) * sigma.to(residual) * math.sqrt(size - 1)
    norm = residual.flatten(1).norm(dim=1)
    return residual * (limit / torch.maximum(norm, limit))[:, None, None, None]


def foreground_noise_sigma(image: Tensor) -> Tensor:
    """Noise level (N,) on the image's own scale: MAD / 0.6745 of the db7 diagonal wavelet band over the foreground.

    The background of a stripped brain is exactly zero, and so is the median over the whole image.
    """
    sigmas = []
    for item in image.detach().cpu().numpy():
        # Periodised, the band has one sample for each second pixel, so that it can be masked.
        _, (_, _, diagonal) = pywt.dwt2(item, "db7", mode="periodization", axes=(-2, -1))
        band = np.abs(diagonal[item[:, ::2, ::2] > 0])
        sigmas.append(max(MINIMUM_SIGMA, float(np.median(band)) / 0.6745 if band.size else 0.0))
    return torch.tensor(sigmas)


def read_weights(path: str) -> dict[str, Tensor]:
    """A file of weights, ours or as the authors released it, for one channel; read with ``weights_only=True``."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    return from_published(state) if "model.conv1.weight_v" in state else state


def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Map a published three-channel checkpoint's keys to ours and fold it to one channel.

    The first convolution is summed over its inputs and the last averaged over its outputs, which equals
    replicating the image, running and averaging. Folded weights are no longer normalised by their own norm,
    so gain and direction are recomputed.

    Parameters
    ----------
    state : keys ``alpha`` and ``model.*`` with ``weight_g`` and ``weight_v``, as the authors released it
    """
    plain: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("module.").removeprefix("model.")
        if name.endswith("weight_v"):
            gain = state[key.replace("weight_v", "weight_g")]
            norm = value.flatten(1).norm(dim=1).reshape(gain.shape)
            plain[name.replace("weight_v", "weight")] = value * gain / norm
        elif not name.endswith("weight_g"):
            plain[name] = value
    plain["conv1.weight"] = plain["conv1.weight"].sum(dim=1, keepdim=True)
    plain["conv_out.weight"] = plain["conv_out.weight"].mean(dim=1, keepdim=True)
    plain["conv_out.bias"] = plain["conv_out.bias"].mean(dim=0, keepdim=True)
    mapped: dict[str, Tensor] = {}
    for name, value in plain.items():
        if name.endswith("weight") and value.ndim == 4:
            prefix = name.removesuffix("weight") + "parametrizations.weight."
            mapped[prefix + "original0"] = value.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
            mapped[prefix + "original1"] = value
        else:
            mapped[name] = value
    return mapped
