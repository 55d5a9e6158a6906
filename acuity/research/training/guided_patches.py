"""Patches of brains in all four sequences, degraded as the clinical chain's volumes are: what guided training sees."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from acuity.anatomy import Sequence, labels_to_regions
from acuity.imaging.forward_model import SliceProfile, box_matrix, resize_axes, resize_cubic, resize_matrix
from acuity.research.datasets import brats
from acuity.research.sampling.patches import PreparedCase, draw_center
from acuity.volume import Volume

MARGIN = 4  # voxels at each side of a patch that count in no loss: as far as its edge reaches in halved resolution
LIMIT = 5.0  # as acuity.imaging.intensity.zscore clips

Size = tuple[int, int, int]


@dataclass(frozen=True)
class ScaledCase:
    """A brain in the intensities that generators see, cut to its box, and what z-scores it.

    Parameters
    ----------
    image : float16 (4, I, J, K), T1, T1c, T2, FLAIR, each divided by its 99.9th percentile in the brain; 0 outside
    regions : uint8 (3, I, J, K), 0 or 1; ET, TC, WT
    mean, deviation : float32 (4, 1, 1, 1), of each sequence over the whole brain, on that scale
    """

    name: str
    image: Tensor
    regions: Tensor
    mean: Tensor
    deviation: Tensor


@dataclass(frozen=True)
class VolumeDegradation:
    """How a volume lost resolution: by ``factors`` along i, j, k, as slices of a profile ("box" or "cubic") do."""

    factors: tuple[float, float, float]
    profile: SliceProfile

    def __call__(self, volume: Tensor) -> Tensor:
        """(C, I, J, K) to the low resolution (C, i, j, k), at least 0; outer faces coincide."""
        shape = volume.shape[1:]
        size = tuple(max(1, round(n / f)) for n, f in zip(shape, self.factors, strict=True))
        ratios = tuple(n / m for n, m in zip(shape, size, strict=True))
        matrix = box_matrix if self.profile == "box" else resize_matrix
        return resize_axes(volume, size, ratios, [matrix] * 3).clamp_min(0)


@dataclass(frozen=True)
class GuidedPatch:
    """What one step sees.

    Parameters
    ----------
    hr : the truth, float32 (4, I, J, K), 0 to about 1, with its margin
    lr : the low resolution (4, i, j, k)
    regions : float32 (3, I, J, K), 0 or 1
    mean, deviation : of the whole brain, see ``ScaledCase``
    """

    hr: Tensor
    lr: Tensor
    regions: Tensor
    mean: Tensor
    deviation: Tensor

    @property
    def size(self) -> Size:
        """Of the truth, with its margin."""
        i, j, k = self.hr.shape[1:]
        return i, j, k

    def scored(self, image: Tensor) -> Tensor:
        """An image of the size of ``hr`` as segmenters see it: z-scored by the original brain, 0 outside it.

        The original's statistics keep it linear in the voxels, and gradients of a patch within the patch.
        """
        brain = (self.hr > 0).any(dim=0)
        return ((image - self.mean) / self.deviation).clamp(-LIMIT, LIMIT) * brain

    def interpolated(self) -> Tensor:
        """Tricubic interpolation of ``lr`` to the size of ``hr``: the baseline."""
        ratios = tuple(m / n for m, n in zip(self.lr.shape[1:], self.size, strict=True))
        return resize_cubic(self.lr, self.size, ratios).clamp_min(0)

    def to(self, device: torch.device) -> GuidedPatch:
        """The same on a device."""
        tensors = (self.hr, self.lr, self.regions, self.mean, self.deviation)
        return GuidedPatch(*(tensor.to(device) for tensor in tensors))


def scaled(name: str, images: Mapping[Sequence, Volume], labels: Volume) -> ScaledCase:
    """A stripped brain; what is greater than 0 in any sequence belongs to it."""
    box = brats.brain_box([images[s].array for s in Sequence])
    arrays = np.stack([images[s].array[box] for s in Sequence]).astype(np.float64)
    arrays /= np.array([np.percentile(array[array > 0], 99.9) for array in arrays])[:, None, None, None]
    inside = arrays[:, (arrays > 0).any(axis=0)]
    mean, deviation = (
        torch.from_numpy(values.astype(np.float32)).reshape(-1, 1, 1, 1)
        for values in (inside.mean(axis=1), inside.std(axis=1))
    )
    regions = labels_to_regions(labels.array[box]).astype(np.uint8)
    return ScaledCase(name, torch.from_numpy(arrays.astype(np.float16)), torch.from_numpy(regions), mean, deviation)


def read_cases(folder: str | Path, names: Seq[str]) -> list[ScaledCase]:
    """The named BraTS cases; raises DataError as ``acuity.research.datasets.brats`` does."""
    folder = brats.data_folder(folder)
    return [
        scaled(name, brats.read_case(folder / name), brats.read_labels(folder / name))
        for name in tqdm(names, desc="reading cases", mininterval=10)
    ]


def draw_degradation(rng: np.random.Generator) -> VolumeDegradation:
    """Half of them x2 along all axes, the rest thick slices of 2.5 to 6 voxels across any axis."""
    if rng.random() < 0.5:
        return VolumeDegradation((2.0, 2.0, 2.0), "cubic")
    factors = [1.0, 1.0, 1.0]
    factors[int(rng.integers(3))] = float(rng.uniform(2.5, 6.0))
    return VolumeDegradation((factors[0], factors[1], factors[2]), "box")


def draw_patch(
    case: ScaledCase, size: Size, tumor_share: float, degradation: VolumeDegradation, rng: np.random.Generator
) -> GuidedPatch:
    """A patch on the tumor with probability ``tumor_share``, else anywhere but at the brain's ends, degraded.

    Parameters
    ----------
    size : in voxels, without the margin; of a smaller brain the patch is all
    """
    shape = np.array(case.image.shape[1:])
    full = np.minimum(np.array(size) + 2 * MARGIN, shape)
    center = draw_center(PreparedCase(case.name, case.image, case.regions), tumor_share, rng)
    corner = np.clip(np.round(center).astype(int) - full // 2, 0, shape - full)
    i, j, k = (slice(int(c), int(c + n)) for c, n in zip(corner, full, strict=True))
    hr = case.image[:, i, j, k].float()
    return GuidedPatch(hr, degradation(hr), case.regions[:, i, j, k].float(), case.mean, case.deviation)
