"""The methods that are compared: interpolations, released bundles and files of weights, each as one function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.errors import BundleError, DataError
from acuity.imaging.denoising import denoise
from acuity.imaging.forward_model import resize_cubic
from acuity.models.super_resolution import Denoising
from acuity.research.bundles import bundle_origin, find_bundles
from acuity.research.weights.checkpoints import load_published

Upscale = Callable[[Tensor], Tensor]

BASELINE = "bicubic"


@dataclass(frozen=True)
class Method:
    """A way from low to high resolution.

    Parameters
    ----------
    name : of its row; unique in a comparison
    source : "interpolation", "bundle", "natural images" (weights of three channels) or "weights"
    upscale : (1, 1, h, w), 0 to about 1, to (1, 1, scale * h, scale * w), both on the CPU
    origin : what identifies the weights: hash, version, format
    denoising : non-local means before or after ``upscale``
    """

    name: str
    source: str
    upscale: Upscale
    origin: Mapping[str, object]
    denoising: Denoising | None = None

    def __call__(self, lr: Tensor) -> Tensor:
        """Upscale, and denoise where that belongs to the method."""
        if self.denoising == "before":
            lr = denoised(lr)
        sr = self.upscale(lr)
        return denoised(sr) if self.denoising == "after" else sr


def interpolations(scale: int) -> list[Method]:
    """Nearest, bilinear, bicubic (a = -0.5) and Lanczos (three lobes, Pillow); the outer faces coincide in all."""

    def enlarged(mode: str) -> Upscale:
        return lambda lr: F.interpolate(lr, scale_factor=scale, mode=mode)

    def bicubic(lr: Tensor) -> Tensor:
        return resize_cubic(lr, (lr.shape[-2] * scale, lr.shape[-1] * scale), (1 / scale, 1 / scale))

    def lanczos(lr: Tensor) -> Tensor:
        image = Image.fromarray(lr[0, 0].numpy())
        large = image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(large))[None, None]

    functions = {
        "nearest": enlarged("nearest"),
        "bilinear": enlarged("bilinear"),
        BASELINE: bicubic,
        "Lanczos": lanczos,
    }
    return [Method(name, "interpolation", upscale, {}) for name, upscale in functions.items()]


def bundle_methods(models: Path, scale: int, device: torch.device) -> list[Method]:
    """Every bundle in ``models`` whose network has this ``scale``; the others are passed over.

    A bundle ``brain_mri_sr_x4_NAME`` gives the method NAME, any other its own name.

    Raises
    ------
    BundleNotFoundError : none has
    BundleError : one cannot be loaded, or does not enlarge by its scale
    """
    methods = []
    for bundle in find_bundles(models, lambda b: getattr(b.network, "scale", None) == scale, f"enlarges by {scale}"):
        if not _enlarges(bundle.network.cpu(), scale):
            raise BundleError(
                f"The bundle {bundle.name} does not enlarge by its scale, {scale}.",
                rule="A network with a scale takes (N, 1, h, w) to (N, 1, scale * h, scale * w).",
                remedy="Correct its network, or take it out of the models folder.",
            )
        name = bundle.name.removeprefix(f"brain_mri_sr_x{scale}_")
        methods.append(Method(name, "bundle", _on(device, bundle.network), bundle_origin(bundle)))
    return methods


def weights_method(name: str, path: Path, scale: int, device: torch.device) -> Method:
    """A file of weights as ``acuity.research.weights.checkpoints`` reads it.

    A network that takes the interpolated image (SRResCycGAN) is told to interpolate, bilinearly as published.

    Raises
    ------
    DataError : it cannot be read, or has another scale
    """
    network, description = load_published(path)
    if description.scale is None:
        network.scale = scale
    if network.scale != scale or not _enlarges(network, scale):
        raise DataError(
            f"{path.name}, for {name}, enlarges by {network.scale}, not by {scale}.",
            rule="All methods of a comparison enlarge the same low resolution by the same scale.",
            remedy="Leave it out, or compare at its scale with --scale.",
        )
    source = "natural images" if description.channels == 3 else "weights"
    return Method(name, source, _on(device, network), asdict(description))


def with_denoising(methods: Seq[Method], when: Denoising) -> list[Method]:
    """Each method as it is, and with denoising."""
    return [
        m
        for method in methods
        for m in (method, replace(method, name=f"{method.name}, denoised {when}", denoising=when))
    ]


def denoised(image: Tensor) -> Tensor:
    """Non-local means of (1, 1, H, W), see ``acuity.imaging.denoising``; negative values become 0 first."""
    return torch.from_numpy(denoise(image[0, 0].clamp_min(0).numpy()))[None, None]


def _on(device: torch.device, network: nn.Module) -> Upscale:
    network = network.eval().to(device)
    return lambda lr: network(lr.to(device)).float().cpu()


def _enlarges(network: nn.Module, scale: int) -> bool:
    with torch.inference_mode():
        shape = network.eval()(torch.zeros(1, 1, 16, 12)).shape
    return shape == (1, 1, 16 * scale, 12 * scale)
