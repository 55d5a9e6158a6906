"""The steps of a drawn degradation, as plain values, and their application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from torch import Tensor
from torch.nn import functional as F

from acuity.imaging.forward_model import resize_cubic
from acuity.research.degradations import noise
from acuity.research.degradations.kernels import Shape, blur, gaussian_kernel, sinc_kernel
from acuity.research.degradations.kspace import gibbs_ringing, partial_fourier, truncate_kspace

Interpolation = Literal["area", "bilinear", "bicubic", "antialiased"]


@dataclass(frozen=True)
class Blur:
    """Convolution with ``kernels.gaussian_kernel``."""

    size: int
    sigmas: tuple[float, float]
    angle: float = 0.0
    shape: Shape = "gaussian"
    beta: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Sinc:
    """Convolution with ``kernels.sinc_kernel``."""

    size: int
    cutoff: float


@dataclass(frozen=True)
class Resize:
    """Resize to 1 / ``divisor`` of the undegraded image's size.

    "area", "bilinear" and "bicubic" (a = -0.75) are those of torch and OpenCV, without antialiasing. "antialiased" is
    MATLAB's bicubic, ``resize_cubic``.
    """

    divisor: float
    interpolation: Interpolation


@dataclass(frozen=True)
class Decimate:
    """Take each ``stride``-th pixel, from the first."""

    stride: int


@dataclass(frozen=True)
class TruncateKspace:
    """``kspace.truncate_kspace`` to 1 / ``divisor`` of the undegraded image's size."""

    divisor: int


@dataclass(frozen=True)
class GaussianNoise:
    """``noise.gaussian_noise``."""

    sigma: float
    seed: int


@dataclass(frozen=True)
class PoissonNoise:
    """``noise.poisson_noise``."""

    scale: float
    seed: int


@dataclass(frozen=True)
class RicianNoise:
    """``noise.rician_noise``."""

    sigma: float
    seed: int


@dataclass(frozen=True)
class Jpeg:
    """``noise.jpeg``."""

    quality: int


@dataclass(frozen=True)
class GibbsRinging:
    """``kspace.gibbs_ringing``."""

    fractions: tuple[float, float]


@dataclass(frozen=True)
class PartialFourier:
    """``kspace.partial_fourier``."""

    fraction: float
    axis: int


@dataclass(frozen=True)
class RoundTo8Bits:
    """Clip to 0..1 and round to 256 gray levels."""


@dataclass(frozen=True)
class Magnitude:
    """The absolute value: no pixel of a scanner's magnitude image is negative."""


Step = (
    Blur
    | Sinc
    | Resize
    | Decimate
    | TruncateKspace
    | GaussianNoise
    | PoissonNoise
    | RicianNoise
    | Jpeg
    | GibbsRinging
    | PartialFourier
    | RoundTo8Bits
    | Magnitude
)
Steps = tuple[Step, ...]


def apply(image: Tensor, steps: Steps) -> Tensor:
    """Degrade images (N, 1, H, W), 0 to 1, by the same steps, each with noise of its own.

    The same image and steps always give the same result: the seeds are part of the steps. Gradients pass through all
    steps except JPEG and rounding.
    """
    size = (image.shape[-2], image.shape[-1])
    for step in steps:
        image = _apply_step(image, step, size)
    return image


def _apply_step(image: Tensor, step: Step, size: tuple[int, int]) -> Tensor:
    match step:
        case Blur():
            kernel = gaussian_kernel(
                step.size, step.sigmas, step.angle, shape=step.shape, beta=step.beta, shift=step.shift
            )
            return blur(image, kernel)
        case Sinc():
            return blur(image, sinc_kernel(step.size, step.cutoff))
        case Resize():
            return resize(image, _divided(size, step.divisor), step.interpolation)
        case Decimate():
            return image[..., :: step.stride, :: step.stride]
        case TruncateKspace():
            return truncate_kspace(image, _divided(size, step.divisor))
        case GaussianNoise():
            return noise.gaussian_noise(image, step.sigma, step.seed)
        case PoissonNoise():
            return noise.poisson_noise(image, step.scale, step.seed)
        case RicianNoise():
            return noise.rician_noise(image, step.sigma, step.seed)
        case Jpeg():
            return noise.jpeg(image, step.quality)
        case GibbsRinging():
            return gibbs_ringing(image, step.fractions)
        case PartialFourier():
            return partial_fourier(image, step.fraction, step.axis)
        case RoundTo8Bits():
            return (image.clamp(0, 1) * 255).round() / 255
        case Magnitude():
            return image.abs()
        case _:
            assert_never(step)


def resize(image: Tensor, size: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """(N, C, H, W) to (N, C, *size), outer faces coinciding."""
    if interpolation == "antialiased":
        return resize_cubic(image, size, (image.shape[-2] / size[0], image.shape[-1] / size[1]))
    if interpolation == "area":
        return F.interpolate(image, size=size, mode="area")
    return F.interpolate(image, size=size, mode=interpolation, align_corners=False)


def _divided(size: tuple[int, int], divisor: float) -> tuple[int, int]:
    height, width = (max(1, round(n / divisor)) for n in size)
    return height, width
