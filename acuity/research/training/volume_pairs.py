"""Patches of whole volumes and their acquisitions, for training super-resolution in 3D."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acuity.imaging.forward_model import resize_matrix
from acuity.imaging.point_spread import PointSpread
from acuity.models.super_resolution_volume import distances
from acuity.research.degradations.acquisition import Acquisition, draw_acquisition
from acuity.research.training.pairs import Batch, Rng

MARGIN = 2  # voxels round a patch that no loss counts, because the network pads with zeros
ENOUGH = 0.3  # of a patch's voxels that show something
REACH = 12  # voxels round a patch that its acquisition sees
TRIES = 20  # of places for a patch
SHOWN_SIZE = 72  # voxels of a patch for validation
GAIN = 0.15  # by which intensities are multiplied, up or down, at most


@dataclass(frozen=True)
class AcquisitionPairs:
    """Patches of volumes that scanners of all kinds might have acquired, interpolated to the fine grid.

    Parameters
    ----------
    volumes : (I, J, K), 0 to about 1, as ``acuity.research.datasets.volume_patches.read_volumes`` gives them
    size : of the patches in voxels, even
    """

    volumes: Seq[NDArray[np.float16]]
    size: int = 48

    def draw(self, count: int, rng: Rng) -> Batch:
        """See ``Pairs``; each patch is turned, mirrored and acquired in its own way."""
        parts = [self._drawn(rng) for _ in range(count)]
        image, hr = (torch.cat(items) for items in zip(*parts, strict=True))
        return _batch(image, hr)

    def _drawn(self, rng: Rng) -> tuple[Tensor, Tensor]:
        array = self.volumes[int(rng.integers(len(self.volumes)))]
        array = array.transpose(rng.permutation(3))[tuple(slice(None, None, int(s)) for s in rng.choice([-1, 1], 3))]
        surroundings = array[_box(array, self.size + 2 * REACH, rng)].astype(np.float32)
        volume = torch.from_numpy(surroundings) * float(rng.uniform(1 - GAIN, 1 + GAIN))
        start = [max(0, (n - self.size) // 4 * 2) for n in volume.shape]
        box = tuple(slice(a, min(n, a + self.size)) for a, n in zip(start, volume.shape, strict=True))
        return _patch(volume, draw_acquisition(rng), box, rng)

    def fixed(self) -> dict[str, list[Batch]]:
        """See ``Pairs``: acquisitions of all kinds; then x2 along all axes, and slices of 5 voxels, of some blurs."""
        kinds: dict[str, list[Batch]] = {"family": []}
        for n in range(2 * len(self.volumes)):
            rng = np.random.default_rng([1, n])
            kinds["family"].append(_shown(self.volumes[n % len(self.volumes)], draw_acquisition(rng), rng))
        for name, acquisition in _SHOWN.items():
            kinds[name] = [_shown(v, acquisition, np.random.default_rng([2, n])) for n, v in enumerate(self.volumes)]
        return kinds


def _twice(spread: PointSpread) -> Acquisition:
    return Acquisition((2.0, 2.0, 2.0), (spread, spread, spread))


_SHOWN = {
    "x2_cubic": _twice(PointSpread("cubic")),
    "x2_kspace": _twice(PointSpread("kspace")),
    "x2_gaussian": _twice(PointSpread("gaussian", 0.6)),
    "slices_5": Acquisition((1.0, 1.0, 5.0), (PointSpread("box"),) * 3),
}


def _shown(array: NDArray[np.float16], acquisition: Acquisition, rng: Rng) -> Batch:
    """A large patch for validation; the acquisition sees the whole volume."""
    return _batch(*_patch(torch.from_numpy(array.astype(np.float32)), acquisition, _box(array, SHOWN_SIZE, rng), rng))


def _batch(image: Tensor, hr: Tensor) -> Batch:
    return Batch(image, image[:, :1], hr, image[:, :1], lambda sr: sr, MARGIN)


def _patch(volume: Tensor, acquisition: Acquisition, box: tuple[slice, ...], rng: Rng) -> tuple[Tensor, Tensor]:
    """A part of a volume as the network sees its acquisition (1, 4, D, H, W), and as it is (1, 1, D, H, W)."""
    image = acquisition(volume, int(rng.integers(2**31)))
    for axis, part in enumerate(box):  # of the interpolated volume, the part alone
        rows = resize_matrix(image.shape[0], volume.shape[axis], 1.0 / acquisition.ratios[axis])
        image = torch.tensordot(image, rows[part], dims=([0], [1]))
    places = distances(tuple(volume.shape), acquisition.ratios)[(slice(None), *box)]
    return torch.cat([image.clamp_min(0)[None], places])[None], volume[box][None, None]


def _box(volume: NDArray[np.float16], size: int, rng: Rng) -> tuple[slice, ...]:
    """A place that shows enough; its corner is even, as the network's pairs of voxels are."""
    sizes = [min(size, n // 2 * 2) for n in volume.shape]
    for _ in range(TRIES):
        corner = [2 * int(rng.integers((n - size) // 2 + 1)) for n, size in zip(volume.shape, sizes, strict=True)]
        box = tuple(slice(c, c + size) for c, size in zip(corner, sizes, strict=True))
        if (volume[box] > 0).mean() > ENOUGH:
            break
    return box
