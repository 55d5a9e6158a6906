"""A glioma grown by rule in a map of tissues: necrotic core, enhancing rim, edema, mass effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from acuity.anatomy import Label
from acuity.research.synthetic.noise import SmoothNoise

Array = NDArray[np.float32]

# Fast marching needs a speed above 0 everywhere; no tumor grows through tissue of this speed.
_STILL = 1e-4


@dataclass(frozen=True)
class Tissues:
    """Partial volumes of white matter, gray matter and fluid: float32 (I, J, K), 0 to 1, 0 outside the brain."""

    white: Array
    gray: Array
    fluid: Array

    def warped(self, coordinates: Array) -> Tissues:
        """All maps sampled at ``coordinates`` (3, I, J, K), in voxels."""
        return Tissues(
            *(
                ndimage.map_coordinates(m, coordinates, order=1, mode="nearest")
                for m in (self.white, self.gray, self.fluid)
            )
        )


def grow_tumor(
    tissues: Tissues,
    brain: NDArray[np.bool_],
    noise: SmoothNoise,
    *,
    spacing_mm: float,
    seed: NDArray[np.float64],
    core_ml: float,
    edema_ml: float,
) -> tuple[Tissues, NDArray[np.uint8]]:
    """Grow a tumor from the white matter next to ``seed``.

    Parameters
    ----------
    tissues, brain : (I, J, K) on an isotropic grid
    noise : makes the shapes irregular
    seed : (3,) voxel coordinates of the start
    core_ml, edema_ml : volumes to reach; the core is necrosis and enhancing rim together

    Returns
    -------
    tissues : displaced by the mass effect
    labels : uint8 with values 0, 1, 2, 4
    """
    depth = ndimage.distance_transform_edt(brain, sampling=spacing_mm)
    start = _deep_white_matter(tissues, depth, seed)
    core, arrival = _front(_core_speed(tissues, brain, noise), start, brain, core_ml, spacing_mm)
    # The enhancing rim is where the front arrived late; its thickness varies with the noise.
    rim = core & (arrival > arrival[core].max() * (0.70 + 0.13 * noise(9.0)))
    tissues = tissues.warped(_mass_effect(core, depth, spacing_mm, core_ml))

    free = brain & ~core & (tissues.fluid < 0.5)
    edema, _ = _front(_edema_speed(tissues, brain, core, noise), start, free, edema_ml, spacing_mm)
    labels = np.zeros(brain.shape, dtype=np.uint8)
    labels[_smooth(edema | core, spacing_mm) & free] = Label.EDEMA
    labels[core] = Label.NECROSIS
    labels[rim] = Label.ENHANCING
    return tissues, labels


def _deep_white_matter(tissues: Tissues, depth: NDArray[np.float64], seed: NDArray[np.float64]) -> tuple[int, int, int]:
    candidates = np.argwhere((tissues.white > 0.6) & (depth > 15.0))
    nearest = candidates[np.linalg.norm(candidates - seed, axis=1).argmin()]
    return int(nearest[0]), int(nearest[1]), int(nearest[2])


def _core_speed(tissues: Tissues, brain: NDArray[np.bool_], noise: SmoothNoise) -> Array:
    """The core grows through white and gray matter, lobulated by noise; fluid slows it down."""
    speed = (tissues.white + 0.8 * tissues.gray + 0.15 * tissues.fluid) * np.exp(0.45 * noise(14.0))
    return np.where(brain, np.maximum(speed, _STILL), _STILL).astype(np.float32)


def _edema_speed(tissues: Tissues, brain: NDArray[np.bool_], core: NDArray[np.bool_], noise: SmoothNoise) -> Array:
    """Edema spreads along white matter and spares the cortex, as the fingers seen in FLAIR."""
    speed = (tissues.white**2 + 0.10 * tissues.gray) * np.exp(0.5 * noise(12.0))
    speed = np.where(brain, np.maximum(speed, _STILL), _STILL)
    # The core is crossed in no time, so that the front starts at its surface.
    return np.where(core, 100.0, speed).astype(np.float32)


def _front(
    speed: Array, start: tuple[int, int, int], within: NDArray[np.bool_], volume_ml: float, spacing_mm: float
) -> tuple[NDArray[np.bool_], Array]:
    """The ``volume_ml`` of ``within`` that a front from ``start`` reaches first, and its arrival times.

    By Sethian's fast marching, which stops soon after the volume is reached: its cost grows with the volume visited.
    """
    wanted = min(max(1, round(volume_ml * 1000.0 / spacing_mm**3)), int(within.sum()))
    image = sitk.GetImageFromArray(speed.transpose(2, 1, 0))
    image.SetSpacing([spacing_mm] * 3)
    stop = 1.5 * _radius(volume_ml)
    while True:
        marched = sitk.FastMarching(image, trialPoints=[start], stoppingValue=stop)
        times = sitk.GetArrayFromImage(marched).transpose(2, 1, 0)
        arrival = np.where(times <= stop, times, np.inf).astype(np.float32)
        reached = arrival[within]
        if np.isfinite(reached).sum() >= wanted:
            return within & (arrival <= np.partition(reached, wanted - 1)[wanted - 1]), arrival
        stop *= 1.5


def _radius(volume_ml: float) -> float:
    """Radius in mm of a ball of ``volume_ml``."""
    return float((3.0 * volume_ml * 1000.0 / (4.0 * np.pi)) ** (1.0 / 3.0))


def _mass_effect(core: NDArray[np.bool_], depth: NDArray[np.float64], spacing_mm: float, core_ml: float) -> Array:
    """Coordinates (3, I, J, K), in voxels, from which each voxel takes its tissue when the core pushes outward.

    The push is a third of the core's radius at its surface. It fades with distance and vanishes at the surface of the
    brain, which the skull holds. Its slope stays below 1, so that no tissue folds.
    """
    radius = _radius(core_ml)
    outside = ndimage.distance_transform_edt(~core, sampling=spacing_mm).astype(np.float32)
    held = np.clip(depth / 15.0, 0.0, 1.0)
    push = (radius / 3.0) * np.exp(-outside / (1.3 * radius)) * held
    # The direction follows the smoothed distance, so that it is smooth even where the core is lobulated.
    direction = np.stack(np.gradient(ndimage.gaussian_filter(outside, 6.0 / spacing_mm)))
    direction /= np.maximum(np.linalg.norm(direction, axis=0), 1e-6)
    index = np.indices(core.shape, dtype=np.float32)
    return np.asarray(index - direction * (push / spacing_mm), dtype=np.float32)


def _smooth(mask: NDArray[np.bool_], spacing_mm: float) -> NDArray[np.bool_]:
    return ndimage.gaussian_filter(mask.astype(np.float32), 1.0 / spacing_mm) > 0.5
