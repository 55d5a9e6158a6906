"""Noise of cameras and of scanners, and JPEG, of images (N, 1, H, W).

Standard deviations are parts of the range 0 to 1: a published noise level of 25 gray levels is 25 / 255.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def gaussian_noise(image: Tensor, sigma: float, seed: int) -> Tensor:
    """Add normal noise and clip to 0..1."""
    return (image + sigma * _normal(image, np.random.default_rng(seed))).clamp(0, 1)


def poisson_noise(image: Tensor, scale: float, seed: int) -> Tensor:
    """Add ``scale`` times the noise of a photon count and clip to 0..1, as Real-ESRGAN does.

    The count at intensity 1 is the number of gray levels (of 8 bits) in that image, rounded up to a power of 2.
    """
    levels = (image.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    counts = [2.0 ** np.ceil(np.log2(np.count_nonzero(np.bincount(item.ravel())))) for item in levels]
    expected = levels / 255.0 * np.reshape(counts, (-1, 1, 1, 1))
    drawn = np.random.default_rng(seed).poisson(expected) - expected
    noise = torch.from_numpy(drawn / np.reshape(counts, (-1, 1, 1, 1))).to(image)
    return (image + scale * noise).clamp(0, 1)


def rician_noise(image: Tensor, sigma: float, seed: int) -> Tensor:
    """Magnitude of the image with normal noise in its real and imaginary part, as in a scanner's images.

    The background becomes Rayleigh noise with mean sigma * sqrt(pi / 2) (Gudbjartsson and Patz, MRM 34, 1995).
    """
    rng = np.random.default_rng(seed)
    return torch.hypot(image + sigma * _normal(image, rng), sigma * _normal(image, rng))


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Round to 8 bits, compress as JPEG and read back; ``quality`` is Pillow's, 1 to 95."""
    decoded = []
    for item in (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy():
        buffer = io.BytesIO()
        Image.fromarray(item[0]).save(buffer, "JPEG", quality=quality)
        decoded.append(np.asarray(Image.open(buffer), dtype=np.float32) / 255)
    return torch.from_numpy(np.stack(decoded)[:, None]).to(image)


def _normal(image: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32)).to(image)
