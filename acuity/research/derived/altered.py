"""BraTS cases as other hospitals would have sent them: one change of the images at a time, the labels kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from acuity.anatomy import Sequence
from acuity.research.degradations.noise import rician_noise
from acuity.research.derived.sets import Case
from acuity.research.synthetic.noise import SmoothNoise
from acuity.volume import Volume

MOST_GAIN = 4.0  # and its inverse the least
MOST_GAMMA = 1.5  # likewise
BIAS = 0.2  # by which the field differs from 1 at most
BIAS_MM = 90.0  # over which it varies: half a head, about
NOISE = 0.05  # of white matter's signal
BLUR_MM = 1.0
RIM_MM = 3.0

_PATCH_MM = 10.0  # of one tissue within what was left round the brain
_GRAIN_MM = 3.0
_SLACK_MM = 1e-3  # spacings are rounded in headers
# Cerebrospinal fluid, and dura with fat (enhancing, in T1c), in parts of white matter's signal: as in the phantom.
_SURROUNDINGS = {
    Sequence.T1: (0.25, 1.35),
    Sequence.T1C: (0.35, 1.6),
    Sequence.T2: (2.5, 1.55),
    Sequence.FLAIR: (0.35, 1.4),
}

Rng = np.random.Generator
Images = dict[Sequence, Volume]


@dataclass(frozen=True)
class Change:
    """One way in which studies differ.

    Parameters
    ----------
    words : what it does, with all its numbers
    apply : to a case, giving its images on the same grid
    """

    words: str
    apply: Callable[[Case, Rng], Images]


@dataclass(frozen=True)
class Altered:
    """The case's images with one change of CHANGES; its labels and grid. The case's name is the seed."""

    change: str

    @property
    def description(self) -> dict[str, object]:
        """As ``Derivation`` says."""
        return {
            "kind": "altered",
            "change": self.change,
            "images": f"{CHANGES[self.change].words}; seeded by the case's name",
            "labels": "the case's own",
        }

    def __call__(self, case: Case) -> Case:
        """See the class."""
        rng = np.random.default_rng([*self.change.encode(), *case.name.encode()])
        return replace(case, images=CHANGES[self.change].apply(case, rng))


def with_other_intensities(case: Case, rng: Rng) -> Images:
    """Another gain and another gamma of each sequence, log-uniform; what was 0 stays 0, no order changes.

    MR intensities have no unit: coils, receivers and vendors scale them (Nyul and Udupa, MRM 42, 1999). Field strength,
    echo and repetition times change how far tissues lie apart, too; a gamma stands for that (as in nnU-Net's
    augmentation: Isensee et al., Nature Methods 18, 2021).
    """
    changed = {}
    for sequence, volume in case.images.items():
        gain, gamma = (math.exp(rng.uniform(-1, 1) * math.log(most)) for most in (MOST_GAIN, MOST_GAMMA))
        top = float(volume.array.max()) or 1.0
        array = gain * top * (np.maximum(volume.array, 0) / top) ** gamma
        changed[sequence] = volume.with_array(array.astype(np.float32))
    return changed


def with_bias(case: Case, rng: Rng) -> Images:
    """Each sequence times a smooth field of its own, of the whole range 1 - BIAS to 1 + BIAS over the brain.

    This is BrainWeb's non-uniformity of 40 % (Kwan, Evans and Pike, IEEE TMI 18, 1999), the strong one of its two. At
    3 T the radio waves are about as long in tissue as the head is wide, so that their field varies across it (Sled and
    Pike, IEEE TMI 17, 1998), in each sequence otherwise as the flip angles differ.
    """
    smooth, brain = _smooth(case, rng), case.brain
    changed = {}
    for sequence, volume in case.images.items():
        field = smooth(BIAS_MM)
        low, high = field[brain].min(), field[brain].max()
        changed[sequence] = volume.with_array(volume.array * (1 - BIAS + 2 * BIAS * (field - low) / (high - low)))
    return changed


def with_noise(case: Case, rng: Rng) -> Images:
    """Rician noise of a standard deviation of NOISE of white matter's signal; what was 0 stays 0.

    The magnitude of a signal with Gaussian noise in both channels (Gudbjartsson and Patz, MRM 34, 1995), its strength
    counted as BrainWeb counts it (Kwan, Evans and Pike, IEEE TMI 18, 1999). It comes on top of the image's own.
    """
    white = white_matter(case)
    changed = {}
    for sequence, volume in case.images.items():
        signal = torch.from_numpy(np.maximum(volume.array, 0))
        noisy = rician_noise(signal, NOISE * white[sequence], int(rng.integers(2**31))).numpy()
        changed[sequence] = volume.with_array(np.where(volume.array > 0, noisy, np.float32(0)))
    return changed


def with_blur(case: Case, rng: Rng) -> Images:
    """Blurred by a Gaussian of a standard deviation of BLUR_MM, as a coarser matrix and small motions do.

    Means over what the sequence shows alone: the head was blurred before the brain was extracted, so that the air that
    takes the skull's place does not bleed into the brain.
    """
    changed = {}
    for sequence, volume in case.images.items():
        sigma = tuple(BLUR_MM / volume.spacing)
        shown = volume.array > 0
        weight = ndimage.gaussian_filter(shown.astype(np.float32), sigma, mode="nearest")
        array = ndimage.gaussian_filter(np.where(shown, volume.array, np.float32(0)), sigma, mode="nearest")
        changed[sequence] = volume.with_array(np.where(shown, array / np.where(shown, weight, 1), np.float32(0)))
    return changed


def overstripped(case: Case, rng: Rng) -> Images:
    """RIM_MM of the brain's surface taken with the skull, all round: 0 there, whatever of the tumor reaches so far.

    Brain extraction errs at the surface first, most on images unlike those it was made for and near tumors (Isensee et
    al., Human Brain Mapping 40, 2019). All round is more than any does: a bound of what is lost.
    """
    brain = case.brain
    left = ndimage.distance_transform_edt(brain, sampling=tuple(case.images[Sequence.T1].spacing)) > RIM_MM + _SLACK_MM
    return {s: volume.with_array(np.where(left, volume.array, np.float32(0))) for s, volume in case.images.items()}


def understripped(case: Case, rng: Rng) -> Images:
    """RIM_MM of what lies round the brain left on it, all round: fluid, and dura with fat, in patches.

    As ``overstripped``, the other way. Dura takes up contrast agent: in T1c it is as bright as enhancing tumor.
    """
    images, brain, white, smooth = case.images, case.brain, white_matter(case), _smooth(case, rng)
    near = ndimage.distance_transform_edt(~brain, sampling=tuple(images[Sequence.T1].spacing)) <= RIM_MM + _SLACK_MM
    share = np.clip(0.5 + smooth(_PATCH_MM), 0, 1)
    changed = {}
    for sequence, volume in images.items():
        fluid, dura = _SURROUNDINGS[sequence]
        # What is left is never 0, or it would count as stripped.
        grain = np.maximum(1 + 0.1 * smooth(_GRAIN_MM), 0.1)
        left = white[sequence] * (fluid + (dura - fluid) * share) * grain
        changed[sequence] = volume.with_array(np.where(near & ~brain, left, volume.array).astype(np.float32))
    return changed


CHANGES: Mapping[str, Change] = {
    "intensity": Change(
        f"each sequence to the power of 1/{MOST_GAMMA:g} to {MOST_GAMMA:g}, times 1/{MOST_GAIN:g} to {MOST_GAIN:g}",
        with_other_intensities,
    ),
    "bias": Change(
        f"each sequence times a field of {1 - BIAS:g} to {1 + BIAS:g} over the brain that varies over {BIAS_MM:g} mm",
        with_bias,
    ),
    "noise": Change(f"Rician noise of {100 * NOISE:g} % of white matter's signal", with_noise),
    "blur": Change(f"blurred by a Gaussian of {BLUR_MM:g} mm (standard deviation), within the brain", with_blur),
    "overstripped": Change(f"0 in the outer {RIM_MM:g} mm of the brain", overstripped),
    "understripped": Change(f"{RIM_MM:g} mm round the brain filled with fluid, dura and fat", understripped),
}


def white_matter(case: Case) -> dict[Sequence, float]:
    """The signal of white matter in each sequence: the median where T1 lies between its 70th and 95th percentile.

    White matter is the brightest large part of a brain in T1; vessels and blood, which can be brighter, lie above. A
    sequence that shows nothing there has 0.
    """
    t1 = case.images[Sequence.T1].array
    low, high = np.percentile(t1[t1 > 0], (70, 95))
    where = (t1 >= low) & (t1 <= high)
    return {sequence: _median(volume.array[where]) for sequence, volume in case.images.items()}


def _median(values: NDArray[np.float32]) -> float:
    shown = values[values > 0]
    return float(np.median(shown)) if shown.size else 0.0


def _smooth(case: Case, rng: Rng) -> SmoothNoise:
    """Fields over the case's grid, the same in mm whatever its spacing."""
    image = case.images[Sequence.T1]
    positions = [np.arange(n, dtype=np.float64) * step for n, step in zip(image.shape, image.spacing, strict=True)]
    return SmoothNoise(rng, np.asarray(image.shape) * image.spacing, positions)
