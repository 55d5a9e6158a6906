"""How long a slice takes, apart from what is made of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from acuity.research.datasets.slice_sets import ImageSlice
from acuity.research.evaluation.slices.methods import Method, denoised

SIZE = 320  # pixels along both sides of the result, the paper's
ROUNDS = 5


def timing_slices(slices: Seq[ImageSlice]) -> list[Tensor]:
    """ROUNDS slices (1, 1, SIZE, SIZE) from all over ``slices``, cut at their middle or with a rim of zeros."""
    chosen = [slices[int((n + 0.5) * len(slices) / ROUNDS)] for n in range(ROUNDS)]
    return [_fitted(torch.from_numpy(item.image)[None, None]) for item in chosen]


def milliseconds(methods: Seq[Method], images: Seq[Tensor]) -> tuple[dict[str, float], dict[str, float]]:
    """Median over low-resolution ``images`` of what each method takes, and of what its denoising takes, by name.

    Each method runs once unmeasured. Then all methods take their turns on each image, so that whatever else slows the
    machine down slows all of them. A copy to and from a GPU is counted; a method and its denoised form share one
    measurement of ``upscale``.
    """
    plain = {method.name: method for method in methods if method.denoising is None}
    upscaling: dict[str, list[float]] = {name: [] for name in plain}
    denoising: dict[str, list[float]] = {method.name: [] for method in methods if method.denoising}
    with torch.inference_mode():
        for method in plain.values():
            method.upscale(images[0])
        for lr in tqdm(images, desc="timing", mininterval=5):
            for name, method in plain.items():
                upscaling[name].append(_timed(method.upscale, lr))
            for method in methods:
                if method.denoising:
                    noisy = lr if method.denoising == "before" else method.upscale(lr)
                    denoising[method.name].append(_timed(denoised, noisy))
    by_function = {plain[name].upscale: median(times) for name, times in upscaling.items()}
    return (
        {method.name: by_function[method.upscale] for method in methods},
        {name: median(times) for name, times in denoising.items()},
    )


def _timed(function: Callable[[Tensor], Tensor], image: Tensor) -> float:
    start = time.perf_counter()
    function(image)
    return 1000 * (time.perf_counter() - start)


def _fitted(image: Tensor) -> Tensor:
    """Negative padding of ``F.pad`` cuts."""
    bottom, right = (SIZE - n for n in image.shape[-2:])
    return F.pad(image, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2))
