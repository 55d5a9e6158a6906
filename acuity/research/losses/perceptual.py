"""Perceptual loss: the distance of two images in the features of a VGG network trained on ImageNet."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.research.losses.vgg import Network, VGGFeatures


class PerceptualLoss(nn.Module):
    """Weighted sum of the distances in several layers.

    Parameters
    ----------
    layers : weight of each layer, by VGG19's names, see ``VGGFeatures``. SRGAN's division of the features by 12.75 is a
        weight of 1 / 12.75**2 of "mse"
    network : see ``vgg.available_network``
    after_activation : features after the ReLU, else before it
    distance : "l1" or "mse", the mean over the features
    relative : divide each layer's features by the target's mean absolute feature, so that layers and networks become
        comparable. The published weights are for torchvision's VGG19 without this. VGG16 in Caffe's convention needs
        it: its input is 0 to 255, and its features are some fifty times larger

    Attributes
    ----------
    description : network, weights, layers and distance in words, for the record of a result

    Raises
    ------
    DataError : see ``VGGFeatures``
    """

    def __init__(
        self,
        layers: Mapping[str, float],
        *,
        network: Network,
        after_activation: bool = False,
        distance: Literal["l1", "mse"] = "l1",
        relative: bool = False,
    ) -> None:
        super().__init__()
        self.weights = tuple(layers.values())
        self.features = VGGFeatures(network, tuple(layers), after_activation)
        self.distance = F.l1_loss if distance == "l1" else F.mse_loss
        self.relative = relative
        terms = " + ".join(f"{w:.4g} {name}" for w, name in zip(self.weights, self.features.layers, strict=True))
        self.description = (
            f"{network.upper()} ({self.features.source}): {distance.upper()} of {terms}, "
            f"{'after' if after_activation else 'before'} the activation"
            f"{', relative to the features of the target' if relative else ''}"
        )

    def forward(self, preds: Tensor, target: Tensor) -> Tensor:
        """Give the distance of two images (N, 1, H, W), 0 to 1; no gradient reaches ``target``."""
        with torch.no_grad():
            wanted = self.features(target)
        return self.between(self.features(preds), wanted)

    def between(self, preds: Seq[Tensor], target: Seq[Tensor]) -> Tensor:
        """Give the distance of two images by their ``features``, for a target that is compared several times."""
        total = preds[0].new_zeros(())
        for weight, found, want in zip(self.weights, preds, target, strict=True):
            unit = want.abs().mean().clamp_min(1e-6) if self.relative else 1.0
            total = total + weight * self.distance(found / unit, want / unit)
        return total
