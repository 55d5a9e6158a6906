"""Patches of volumes for super-resolution across any plane, how they are degraded, and interpolated back."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from acuity.anatomy import Sequence
from acuity.imaging.forward_model import resize_cubic
from acuity.research.datasets import brats
from acuity.research.datasets.slice_sets import shows_enough, turned, unit_scaled

MARGIN = 8  # pixels round a patch that no loss counts, so that no kernel reaches beyond what was read
KERNELS = ("cubic", "box", "decimate")


@dataclass(frozen=True)
class Degradation:
    """A loss of resolution by ``factors`` along H and W.

    The ``kernel`` "cubic" is antialiased cubic shrinking (a = -0.5), "box" averages over the new pixel as a slice
    profile does, and "decimate" is cubic shrinking without antialiasing.
    """

    factors: tuple[float, float]
    kernel: str


def read_volumes(folder: str | Path, names: Seq[str]) -> list[NDArray[np.float16]]:
    """Read all sequences of the named BraTS cases, cut to the brain's box, in the scale of ``unit_scaled``."""
    folder = brats.data_folder(folder)
    volumes = []
    for name in tqdm(names, desc="reading cases", mininterval=10):
        images = brats.read_case(folder / name)
        box = brats.brain_box([images[s].array for s in Sequence])
        volumes += [unit_scaled(images[s].array[box], name).astype(np.float16) for s in Sequence]
    return volumes


def draw_degradation(rng: np.random.Generator) -> Degradation:
    """Draw x2 along both axes half of the time, else along one axis x2 or a thick slice of 2.5 to 6 pixels."""
    kind = rng.random()
    kernel = str(rng.choice(KERNELS, p=[0.6, 0.25, 0.15]))
    if kind < 0.5:
        return Degradation((2.0, 2.0), kernel)
    if kind < 0.8:
        factors = (2.0, 1.0)
    else:
        factors, kernel = (float(rng.uniform(2.5, 6.0)), 1.0), str(rng.choice(["cubic", "box"]))
    return Degradation(factors if rng.random() < 0.5 else factors[::-1], kernel)


def degrade(image: Tensor, degradation: Degradation) -> Tensor:
    """Degrade (N, 1, H, W) to the low resolution (N, 1, h, w); the outer faces coincide."""
    size = tuple(max(1, round(n / f)) for n, f in zip(image.shape[-2:], degradation.factors, strict=True))
    ratios = tuple(n / m for n, m in zip(image.shape[-2:], size, strict=True))
    if degradation.kernel == "box":
        return F.interpolate(image, size=size, mode="area")
    return resize_cubic(image, size, ratios, antialias=degradation.kernel == "cubic")


def interpolate_back(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate (N, 1, h, w) to (N, 1, *size) by cubic convolution (a = -0.5): the generator's input."""
    ratios = tuple(n / m for n, m in zip(image.shape[-2:], size, strict=True))
    return resize_cubic(image, size, ratios)


def draw_patches(volume: NDArray[np.float16], count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Axial, coronal or sagittal patches of one brain: float32 (count, 1, size + 2 MARGIN, size + 2 MARGIN).

    Half of the time two neighboring slices are averaged, as the slices of a low-resolution stack are.
    """
    stack = np.moveaxis(volume, int(rng.integers(3)), 0)
    full = size + 2 * MARGIN
    grow = [(0, 0), *[(0, max(0, full - n)) for n in stack.shape[1:]]]
    stack = np.pad(stack, grow) if any(b for _, b in grow) else stack
    thick = int(rng.integers(1, 3))
    patches: list[NDArray[np.float32]] = []
    while len(patches) < count:
        k = int(rng.integers(stack.shape[0] - thick + 1))
        i, j = (int(rng.integers(n - full + 1)) for n in stack.shape[1:])
        patch = stack[k : k + thick, i : i + full, j : j + full].astype(np.float32).mean(axis=0)
        if shows_enough(patch, rng):
            patches.append(turned(patch, rng))
    return torch.from_numpy(np.stack(patches)[:, None].copy())
