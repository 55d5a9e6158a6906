"""A synthetic brain with a glioma, for the demo and the tests: real anatomy, a grown tumor, four contrasts.

The anatomy is the ICBM152 2009 symmetric template (Fonov et al., NeuroImage 47, 2009), whose tissue maps come with
nilearn. The intensities follow the medians of real BraTS cases. It holds no patient's data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np
from nilearn import datasets
from numpy.typing import NDArray
from scipy import ndimage

from acuity.anatomy import Label, Sequence
from acuity.imaging.resampling import resample
from acuity.research.synthetic.noise import SmoothNoise
from acuity.research.synthetic.tumor import Array, Tissues, grow_tumor
from acuity.volume import RAS_LPS, Grid, Volume

FRAME_OF_REFERENCE_UID = "2.25.152152152152152152152152152152152152"
_MARGIN_MM = 4.0
_HEAD_MM = 22.0


@dataclass(frozen=True)
class Phantom:
    """Four images on one grid, and their truth.

    Parameters
    ----------
    volumes : float32, not negative; the background of a stripped head is exactly 0
    labels : uint8 with values 0, 1, 2, 4
    brain : uint8, 0 or 1
    """

    volumes: dict[Sequence, Volume]
    labels: Volume
    brain: Volume


@dataclass(frozen=True)
class _Contrast:
    """Signals of pure tissues in standard deviations of the brain's signal, and the scanner's scale for them."""

    white: float
    gray: float
    fluid: float
    necrosis: float
    edema: float
    enhancing: float
    vessel: float
    scalp: float
    mean: float
    gain: float


# Medians in BraTS, z-scored over the brain. Pure tissues lie further out than medians, which hold partial volumes.
_CONTRASTS = {
    Sequence.T1: _Contrast(0.95, -0.35, -2.4, -0.85, -0.2, -0.25, -0.6, 2.5, 480.0, 135.0),
    Sequence.T1C: _Contrast(0.45, -0.15, -1.7, -0.6, -0.3, 1.75, 3.6, 2.5, 430.0, 150.0),
    Sequence.T2: _Contrast(-0.85, -0.15, 2.7, 1.8, 0.9, 0.6, -0.8, 0.5, 340.0, 105.0),
    Sequence.FLAIR: _Contrast(-0.35, 0.3, -2.2, 1.5, 1.9, 1.5, -0.8, 0.8, 380.0, 115.0),
}


def make_phantom(
    *,
    seed: int = 0,
    spacing_mm: float = 1.0,
    tumor: bool = True,
    core_ml: float = 24.0,
    edema_ml: float = 50.0,
    noise: float = 0.02,
    bias: float = 0.12,
    variation: float = 0.0,
    head: bool = False,
) -> Phantom:
    """Make a seeded phantom.

    Parameters
    ----------
    seed : of the tumor's place and shape, of texture, bias field and noise
    spacing_mm : isotropic; 8 gives a tiny phantom with the same tumor, for tests
    tumor : without it, all labels are 0
    core_ml, edema_ml : size of the tumor
    noise : standard deviation of the Rician noise as a part of white matter's signal
    bias : standard deviation of the bias field's logarithm
    variation : standard deviation of each tissue's signal between phantoms, in standard deviations of the brain's
        signal: other scanners and protocols
    head : add a skull, a scalp and noise in the air; else the head is stripped as in BraTS
    """
    template, tissues, brain = _anatomy(spacing_mm, _HEAD_MM if head else _MARGIN_MM)
    rng = np.random.default_rng(seed)
    smooth = _noise(rng, template)
    labels = np.zeros(template.shape, dtype=np.uint8)
    place = _place(rng)
    if tumor:
        tissues, labels = grow_tumor(
            tissues,
            brain,
            smooth,
            spacing_mm=spacing_mm,
            seed=(place - template.origin) / spacing_mm,
            core_ml=core_ml,
            edema_ml=edema_ml,
        )
    vessels = _vessels(tissues, brain, smooth, spacing_mm)
    around = ndimage.distance_transform_edt(~brain, sampling=spacing_mm) if head else None
    volumes = {}
    for sequence, usual in _CONTRASTS.items():
        contrast = _varied(usual, variation, np.random.default_rng([seed, list(Sequence).index(sequence)]))
        scores = _paint(contrast, tissues, labels, vessels, smooth, spacing_mm)
        beyond = 0.0 if around is None else _head_signal(contrast, around)
        signal = np.where(brain, contrast.mean + contrast.gain * scores, beyond)
        sigma = noise * (contrast.mean + contrast.gain * contrast.white)
        signal = _rician(np.maximum(signal, 0.0) * np.exp(bias * smooth(90.0)), sigma, rng)
        array = (signal if head else np.where(brain, signal, 0.0)).astype(np.float32)
        volumes[sequence] = Volume(array, template.affine, FRAME_OF_REFERENCE_UID)
    first = volumes[Sequence.T1]
    return Phantom(volumes, first.with_array(labels), first.with_array(brain.astype(np.uint8)))


@lru_cache(maxsize=1)
def _templates() -> tuple[Volume, Volume, Volume]:
    """The brain (0 or 1), white and gray matter (0..1) of the template: 1 mm, axes along +L, +P, +H."""
    loaders = (datasets.load_mni152_template, datasets.load_mni152_wm_template, datasets.load_mni152_gm_template)
    images = [load(resolution=1) for load in loaders]
    arrays = [np.asarray(image.dataobj, dtype=np.float32)[::-1, ::-1] for image in images]
    affine = RAS_LPS @ images[0].affine
    affine = affine @ np.array(
        [[-1, 0, 0, arrays[0].shape[0] - 1], [0, -1, 0, arrays[0].shape[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    arrays[0] = (arrays[0] > 0).astype(np.float32)
    brain, white, gray = (Volume(np.ascontiguousarray(a), affine) for a in arrays)
    return brain, white, gray


@lru_cache(maxsize=2)
def _box(margin_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last corner in mm, LPS, of a box that holds the brain and ``margin_mm`` round it."""
    brain = _templates()[0]
    inside = np.argwhere(brain.array > 0) + brain.grid.origin
    return inside.min(axis=0) - 0.5 - margin_mm, inside.max(axis=0) + 0.5 + margin_mm


@lru_cache(maxsize=4)
def _anatomy(spacing_mm: float, margin_mm: float) -> tuple[Grid, Tissues, NDArray[np.bool_]]:
    first, last = _box(margin_mm)
    shape = np.ceil((last - first) / spacing_mm).astype(int)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = first + spacing_mm / 2.0
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    brain, white, gray = (resample(volume, grid).array for volume in _templates())
    inside = brain > 0.5
    # The maps are means over 152 people. Sharpened, they look like those of one person, with gyri.
    parts = np.stack([white, gray, np.clip(brain - white - gray, 0.0, 1.0)]) ** 1.8
    parts *= inside / np.maximum(parts.sum(axis=0), 1e-6)
    return grid, Tissues(*parts.astype(np.float32)), inside


def _noise(rng: np.random.Generator, grid: Grid) -> SmoothNoise:
    first, last = _box(_HEAD_MM)
    positions = [grid.origin[a] - first[a] + grid.spacing[a] * np.arange(grid.shape[a]) for a in range(3)]
    return SmoothNoise(rng, last - first, positions)


def _place(rng: np.random.Generator) -> NDArray[np.float64]:
    """A point in mm, LPS, in the white matter of the left or right hemisphere, above the temporal lobes."""
    side = rng.choice([-1.0, 1.0])
    return np.array([side * rng.uniform(26.0, 36.0), rng.uniform(-25.0, 45.0), rng.uniform(15.0, 35.0)])


def _vessels(tissues: Tissues, brain: NDArray[np.bool_], smooth: SmoothNoise, spacing_mm: float) -> Array:
    """Partial volumes, 0 to 1, of enhancing vessels and dura: patches of the fluid next to the brain's surface."""
    depth = ndimage.distance_transform_edt(brain, sampling=spacing_mm)
    near = (depth > 0) & (depth < 5.0)
    return np.where(near, tissues.fluid * np.clip(1.5 * (smooth(4.0) - 0.6), 0.0, 1.0), 0.0).astype(np.float32)


def _varied(contrast: _Contrast, variation: float, rng: np.random.Generator) -> _Contrast:
    """Vary the signals of the tissues, but not mean and gain: images are rescaled anyway."""
    tissues = {name: value for name, value in asdict(contrast).items() if name not in ("mean", "gain")}
    return replace(contrast, **{name: value + variation * rng.standard_normal() for name, value in tissues.items()})


def _paint(
    contrast: _Contrast,
    tissues: Tissues,
    labels: NDArray[np.uint8],
    vessels: Array,
    smooth: SmoothNoise,
    spacing_mm: float,
) -> Array:
    """Scores (standard deviations of the brain's intensity) of one contrast, with texture and soft edges."""
    texture = 0.10 * smooth(2.5) + 0.12 * smooth(7.0)
    scores = contrast.white * tissues.white + contrast.gray * tissues.gray + contrast.fluid * tissues.fluid + texture
    scores += vessels * (contrast.vessel - scores)
    # From the outside in, each layer covers all that it encloses, so that no seam of healthy tissue is left between
    # layers. Edema lets the tissue beneath shine through; the core does not.
    layers = (
        ((Label.EDEMA, Label.NECROSIS, Label.ENHANCING), contrast.edema, 0.85, 1.4, 0.25),
        ((Label.NECROSIS, Label.ENHANCING), contrast.necrosis, 0.95, 0.8, 0.4),
        ((Label.ENHANCING,), contrast.enhancing, 0.95, 0.8, 0.5),
    )
    for members, score, opacity, edge_mm, variation in layers:
        mask = np.isin(labels, members)
        part = ndimage.gaussian_filter(mask.astype(np.float32), edge_mm / spacing_mm)
        scores += opacity * part * (score + variation * smooth(5.0) - scores)
    return np.asarray(scores, dtype=np.float32)


def _head_signal(contrast: _Contrast, outside: NDArray[np.float64]) -> NDArray[np.float64]:
    """Skull and scalp by their distance in mm from the brain; air is 0."""
    fluid = contrast.mean + contrast.gain * contrast.fluid
    scalp = contrast.mean + contrast.gain * contrast.scalp
    return np.select([outside < 1.5, outside < 7.0, outside < 14.0], [fluid, 0.12 * contrast.mean, scalp], 0.0)


def _rician(signal: NDArray[np.float64], sigma: float, rng: np.random.Generator) -> Array:
    """Magnitude of a signal with Gaussian noise in both channels (Gudbjartsson and Patz, MRM 34, 1995)."""
    real = signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, sigma * rng.standard_normal(signal.shape, dtype=np.float32)).astype(np.float32)
