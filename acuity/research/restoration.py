"""The ways to restore a volume from low resolution: tricubic interpolation and released bundles."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acuity.imaging.forward_model import SliceProfile
from acuity.models.bundle import Bundle
from acuity.models.super_resolution import Denoising, super_resolve
from acuity.research.bundles import bundle_origin, find_bundles
from acuity.research.degradations.volumes import interpolated
from acuity.volume import Volume

BASELINE = "tricubic"


@dataclass(frozen=True)
class Restored:
    """A restored volume, and what its method says of it.

    Parameters
    ----------
    array : float32, on the truth's grid
    residual, residual_after : as ``SuperResolution`` has them; None of interpolation, which projects nothing
    seconds : that it took
    """

    array: NDArray[np.float32]
    residual: float | None
    residual_after: float | None
    seconds: float


@dataclass(frozen=True)
class VolumeMethod:
    """A way to restore a volume.

    Parameters
    ----------
    name : of its rows and folders; unique in an evaluation
    bundle : None for tricubic interpolation
    fusion, denoising : of ``super_resolve``
    """

    name: str
    bundle: Bundle | None = None
    fusion: bool = False
    denoising: Denoising | None = None

    @property
    def origin(self) -> dict[str, object]:
        """What identifies it."""
        if self.bundle is None:
            return {"interpolation": "cubic, a = -0.5"}
        return bundle_origin(self.bundle) | {"fusion": self.fusion, "denoising": self.denoising}

    def __call__(self, truth: Volume, low: Volume, *, slice_profile: SliceProfile) -> Restored:
        """Restore ``low`` on the grid of ``truth``, of which nothing else is looked at.

        Parameters
        ----------
        slice_profile : of ``low``, for ``super_resolve``; interpolation has no use for it
        """
        start = time.perf_counter()
        if self.bundle is None:
            return Restored(interpolated(truth, low), None, None, time.perf_counter() - start)
        i, j, k = (float(x) for x in truth.spacing)
        result = super_resolve(
            low,
            self.bundle.network,
            spacing=(i, j, k),
            denoising=self.denoising,
            fusion=self.fusion,
            slice_profile=slice_profile,
        )
        seconds = time.perf_counter() - start
        # Where the low resolution reaches beyond the truth, it was made of replicated edges.
        i, j, k = truth.shape
        return Restored(result.volume.array[:i, :j, :k], result.residual, result.residual_after, seconds)


def volume_methods(
    models: Path, bundles: Mapping[str, str] | None, *, fusion: bool = False, denoising: Denoising | None = None
) -> list[VolumeMethod]:
    """Interpolation, and each bundle; a name says what it was told to do ("NAME, fused, denoised before").

    Parameters
    ----------
    bundles : bundle of each method by the method's name; None takes all in ``models`` that super-resolve

    Raises
    ------
    BundleNotFoundError : a bundle that is not there, or none that super-resolves
    BundleError : one that cannot be loaded, or is named and does not super-resolve
    """
    found = find_bundles(
        models,
        lambda bundle: hasattr(bundle.network, "scale"),
        "super-resolves",
        None if bundles is None else bundles.values(),
    )
    suffix = (", fused" if fusion else "") + (f", denoised {denoising}" if denoising else "")
    names = bundles or [bundle.name for bundle in found]
    return [
        VolumeMethod(BASELINE),
        *(VolumeMethod(name + suffix, bundle, fusion, denoising) for name, bundle in zip(names, found, strict=True)),
    ]
