"""Random degradations: drawing their steps, which ``steps.apply`` applies.

Each function takes a random generator and the scale, 2 or 4. It returns the steps that bring images (N, 1, H, W), with
H and W multiples of the scale, to exactly (N, 1, H / scale, W / scale). A recipe may name any of the functions:
``draw_bsrgan`` and ``draw_real_esrgan`` are as published, on photographs, and their ``_mri`` forms suit MRI.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from acuity.research.degradations.kernels import Shape
from acuity.research.degradations.steps import (
    Blur,
    Decimate,
    GaussianNoise,
    GibbsRinging,
    Interpolation,
    Jpeg,
    Magnitude,
    PartialFourier,
    PoissonNoise,
    Resize,
    RicianNoise,
    RoundTo8Bits,
    Sinc,
    Step,
    Steps,
    TruncateKspace,
)

Rng = np.random.Generator
Draw = Callable[[Rng, int], Steps]

GRAY_LEVELS = 255.0
# Real-ESRGAN's kernels: shape, whether one sigma serves both axes, probability.
_KERNELS: tuple[tuple[Shape, bool, float], ...] = (
    ("gaussian", True, 0.45),
    ("gaussian", False, 0.25),
    ("generalized", True, 0.12),
    ("generalized", False, 0.03),
    ("plateau", True, 0.12),
    ("plateau", False, 0.03),
)
_BETA_RANGE: dict[Shape, tuple[float, float]] = {"gaussian": (1, 1), "generalized": (0.5, 4), "plateau": (1, 2)}
# Our choice, since the papers are on photographs: from light truncation to the k-space that a fast scan leaves out.
_KEPT_KSPACE = (0.6, 1.0)
_PARTIAL_FOURIER = (5 / 8, 7 / 8)
_PARTIAL_FOURIER_PROBABILITY = 0.25
_CLEAN_PROBABILITY = 0.5  # of a scan without faults, as most clinical scans are


def draw_bicubic(rng: Rng, scale: int) -> Steps:
    """Antialiased bicubic shrinking (a = -0.5); nothing is random."""
    return (Resize(scale, "antialiased"),)


def draw_kspace(rng: Rng, scale: int) -> Steps:
    """The central part of k-space; nothing is random."""
    return (TruncateKspace(scale),)


def draw_bsrgan(rng: Rng, scale: int) -> Steps:
    """BSRGAN's shuffled degradation (Zhang et al., ICCV 2021, arXiv:2103.14006) on one channel.

    Two blurs, a downsampling, the resizing to the final size, Gaussian noise and JPEG follow in random order, the
    downsampling before the resizing. JPEG comes last. The camera's pipeline, which works on color, is left out.
    """
    return _bsrgan(rng, scale, _bsrgan_noise, _jpeg)


def draw_bsrgan_mri(rng: Rng, scale: int) -> Steps:
    """BSRGAN's degradation with Rician noise instead of Gaussian noise, and missing k-space instead of JPEG.

    Half of the images are only shrunk, as by ``draw_bicubic``.
    """
    if rng.random() < _CLEAN_PROBABILITY:
        return draw_bicubic(rng, scale)
    return _bsrgan(rng, scale, lambda rng: RicianNoise(_bsrgan_level(rng), _seed(rng)), _missing_kspace)


def draw_real_esrgan(rng: Rng, scale: int) -> Steps:
    """Real-ESRGAN's second-order degradation (Wang et al., ICCV Workshops 2021, arXiv:2107.10833) on one channel.

    Blur, resizing, noise and JPEG follow twice. The second JPEG comes before or after the resizing to the final size
    and a sinc filter. The result is rounded to 8 bits.
    """
    return (*_real_esrgan(rng, scale, _camera_noise, _jpeg), RoundTo8Bits())


def draw_real_esrgan_mri(rng: Rng, scale: int) -> Steps:
    """Real-ESRGAN's degradation with Rician noise, missing k-space instead of JPEG, and no rounding.

    Half of the images are only shrunk, as by ``draw_bicubic``.
    """
    if rng.random() < _CLEAN_PROBABILITY:
        return draw_bicubic(rng, scale)
    return (*_real_esrgan(rng, scale, _scanner_noise, _missing_kspace), Magnitude())


def _bsrgan(rng: Rng, scale: int, noise: Callable[[Rng], Step], loss: Callable[[Rng], Step]) -> Steps:
    steps: list[Step] = []
    shrunk = 1
    if scale == 4 and rng.random() < 0.25:
        shrunk = 2
        steps.append(Resize(2, _interpolation(rng) if rng.random() < 0.5 else "antialiased"))
    factor = scale // shrunk
    downsampling, final = _bsrgan_downsampling(rng, factor, shrunk), (Resize(scale, _interpolation(rng)),)
    operations: list[Steps] = [
        (_bsrgan_blur(rng, factor),),
        (_bsrgan_blur(rng, factor),),
        downsampling,
        final,
        (noise(rng),),
        (loss(rng),) if rng.random() < 0.9 else (),
    ]
    order = [int(n) for n in rng.permutation(len(operations))]
    first, second = order.index(2), order.index(3)
    if first > second:
        order[first], order[second] = order[second], order[first]
    return (*steps, *(step for n in order for step in operations[n]), loss(rng))


def _bsrgan_blur(rng: Rng, factor: int) -> Blur:
    """Half of the kernels are anisotropic, by eigenvalues of the covariance; the others are isotropic."""
    size = _odd(rng, 7, 25)
    if rng.random() < 0.5:
        first, second = (math.sqrt(rng.uniform(0, 4 + factor)) for _ in range(2))
        return Blur(size, (first, second), float(rng.uniform(0, math.pi)))
    sigma = float(rng.uniform(0, 2 + 0.2 * factor))
    return Blur(size, (sigma, sigma))


def _bsrgan_downsampling(rng: Rng, factor: int, shrunk: int) -> Steps:
    if rng.random() < 0.75:
        return (Resize(shrunk * float(rng.uniform(1, 2 * factor)), _interpolation(rng)),)
    sigma = float(rng.uniform(0.1, 0.6 * factor))
    # Shifted, so that the first of each ``factor`` pixels stands for their middle.
    return (Blur(25, (sigma, sigma), shift=-(factor - 1) / 2), Decimate(factor))


def _bsrgan_noise(rng: Rng) -> Step:
    return GaussianNoise(_bsrgan_level(rng), _seed(rng))


def _bsrgan_level(rng: Rng) -> float:
    return int(rng.integers(2, 26)) / GRAY_LEVELS


def _real_esrgan(rng: Rng, scale: int, noise: Callable[[Rng, int], Step], loss: Callable[[Rng], Step]) -> Steps:
    steps: list[Step] = [_real_esrgan_kernel(rng, (0.2, 3.0))]
    steps.append(Resize(1 / _rescaling(rng, (0.2, 0.7, 0.1), (0.15, 1.5)), _interpolation(rng)))
    steps += [noise(rng, 1), loss(rng)]
    if rng.random() < 0.8:
        steps.append(_real_esrgan_kernel(rng, (0.2, 1.5)))
    steps.append(Resize(scale / _rescaling(rng, (0.3, 0.4, 0.3), (0.3, 1.2)), _interpolation(rng)))
    steps.append(noise(rng, 2))
    end: list[Step] = [Resize(scale, _interpolation(rng))]
    if rng.random() < 0.8:
        end.append(Sinc(_odd(rng, 7, 21), float(rng.uniform(math.pi / 3, math.pi))))
    last = loss(rng)
    return (*steps, *end, last) if rng.random() < 0.5 else (*steps, last, *end)


def _real_esrgan_kernel(rng: Rng, sigma_range: tuple[float, float]) -> Step:
    size = _odd(rng, 7, 21)
    if rng.random() < 0.1:
        return Sinc(size, float(rng.uniform(math.pi / 3 if size < 13 else math.pi / 5, math.pi)))
    shape, isotropic, _ = _KERNELS[int(rng.choice(len(_KERNELS), p=[p for *_, p in _KERNELS]))]
    sigma, other = (float(s) for s in rng.uniform(*sigma_range, size=2))
    angle = float(rng.uniform(-math.pi, math.pi))
    low, high = _BETA_RANGE[shape]
    # Half below 1 (peaked) and half above (flat), although the range above 1 is larger.
    beta = float(rng.uniform(low, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, high))
    if isotropic:
        return Blur(size, (sigma, sigma), shape=shape, beta=beta)
    return Blur(size, (sigma, other), angle, shape, beta)


def _rescaling(rng: Rng, probabilities: tuple[float, float, float], limits: tuple[float, float]) -> float:
    """Enlarge, shrink or keep."""
    kind = int(rng.choice(3, p=probabilities))
    return 1.0 if kind == 2 else float(rng.uniform(1.0, limits[1]) if kind == 0 else rng.uniform(limits[0], 1.0))


def _camera_noise(rng: Rng, stage: int) -> Step:
    if rng.random() < 0.5:
        return GaussianNoise(_real_esrgan_level(rng, stage), _seed(rng))
    return PoissonNoise(float(rng.uniform(0.05, 3.0 if stage == 1 else 2.5)), _seed(rng))


def _scanner_noise(rng: Rng, stage: int) -> Step:
    return RicianNoise(_real_esrgan_level(rng, stage), _seed(rng))


def _real_esrgan_level(rng: Rng, stage: int) -> float:
    return float(rng.uniform(1, 30 if stage == 1 else 25)) / GRAY_LEVELS


def _jpeg(rng: Rng) -> Step:
    return Jpeg(int(rng.integers(30, 96)))


def _missing_kspace(rng: Rng) -> Step:
    if rng.random() < _PARTIAL_FOURIER_PROBABILITY:
        return PartialFourier(float(rng.uniform(*_PARTIAL_FOURIER)), int(rng.choice([-2, -1])))
    height, width = (float(f) for f in rng.uniform(*_KEPT_KSPACE, size=2))
    return GibbsRinging((height, width))


def _interpolation(rng: Rng) -> Interpolation:
    choices: tuple[Interpolation, ...] = ("area", "bilinear", "bicubic")
    return choices[int(rng.integers(3))]


def _odd(rng: Rng, low: int, high: int) -> int:
    return 2 * int(rng.integers(low // 2, high // 2 + 1)) + 1


def _seed(rng: Rng) -> int:
    return int(rng.integers(2**32))
