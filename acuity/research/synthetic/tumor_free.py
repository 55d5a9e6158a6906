"""Brains without a tumor: mirrored healthy halves of BraTS cases, and phantoms.

Every BraTS case has a tumor. A network that is trained on nothing else finds a tumor in every brain.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from acuity.anatomy import Label, Sequence
from acuity.imaging.intensity import zscore
from acuity.research.datasets.brats import brain_box, brain_mask
from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import prepare, rescaled
from acuity.research.synthetic.phantom import make_phantom
from acuity.volume import Volume

REACH = 8.0  # mm between the plane of the hemispheres and the middle of the brain's box, at most
CLEARANCE = 4.0  # mm between that plane and the tumor, at least: a tumor displaces tissue beyond itself
PHANTOMS = 16  # for training, about half as many as there are mirrored halves
VARIATION = 0.35  # of the contrasts of phantoms for training, see ``make_phantom``
FIRST_SEED = 1000  # of phantoms for training; the demo, the tests and the evaluation use lower seeds


@dataclass(frozen=True)
class FreeHalf:
    """The half of a brain without the tumor.

    Parameters
    ----------
    total : i + i' of voxels i and i' that mirror each other: twice the index of the plane between the hemispheres
    keep_below : whether it is the half with low i
    """

    total: int
    keep_below: bool

    def completed(self, volume: Tensor) -> Tensor:
        """Complete this half of (C, I, J, K) by its mirror image; 0 where a voxel has no counterpart in the volume."""
        below, above = _halves(volume.shape[1], self.total)
        kept, replaced = (below, above) if self.keep_below else (above, below)
        whole = torch.zeros_like(volume)
        whole[:, kept] = whole[:, replaced] = volume[:, kept]
        if self.total % 2 == 0:
            whole[:, self.total // 2] = volume[:, self.total // 2]
        return whole


def mirrored_half(case: PreparedCase) -> PreparedCase | None:
    """The hemisphere without the tumor, completed by its mirror image; None if the tumor is in both hemispheres.

    case : at 1 mm, with i to the left or to the right
    """
    half = free_half(case.image[0].float(), case.regions[2] > 0)
    if half is None:
        return None
    image = rescaled(half.completed(case.image), case.image)
    return PreparedCase(f"{case.name}, mirrored", image, half.completed(case.regions))


def mirrored_volumes(images: Mapping[Sequence, Volume], labels: Volume) -> dict[Sequence, Volume] | None:
    """``mirrored_half`` for the four whole images of a case, on their own grid.

    Parameters
    ----------
    images : of a stripped brain, 0 outside it; any axis may be nearest to the patient's left and right
    labels : on the same grid, 0 where there is no tumor
    """
    axis = int(np.abs(labels.grid.direction[0]).argmax())
    brain = brain_mask(images)
    t1 = np.moveaxis(zscore(images[Sequence.T1], labels.with_array(brain.astype(np.uint8))).array, axis, 0)
    tumor = np.moveaxis(labels.array != Label.BACKGROUND, axis, 0)
    box = brain_box([np.moveaxis(brain, axis, 0)])
    spacing = float(labels.spacing[axis])
    half = free_half(torch.from_numpy(t1[box]), torch.from_numpy(tumor[box]), spacing=spacing)
    if half is None:
        return None
    # The plane is found within the box; the half is completed beyond it, or the wider half would be cut.
    half = replace(half, total=half.total + 2 * box[0].start)
    mirrored = {}
    for sequence, volume in images.items():
        whole = half.completed(torch.from_numpy(np.moveaxis(volume.array, axis, 0)[None]))[0].numpy()
        mirrored[sequence] = volume.with_array(np.ascontiguousarray(np.moveaxis(whole, 0, axis)))
    return mirrored


def tumor_free_phantom(seed: int, *, variation: float = 0.0) -> PreparedCase:
    """The phantom without a tumor, stripped, at 1 mm; ``seed`` and ``variation`` as in ``make_phantom``."""
    phantom = make_phantom(seed=seed, tumor=False, variation=variation)
    return prepare(f"phantom {seed}", phantom.volumes, phantom.labels)


def tumor_free_brains(cases: Seq[PreparedCase], phantoms: int = PHANTOMS) -> list[PreparedCase]:
    """The mirrored free halves of ``cases``, and a number of phantoms, each with contrasts of its own."""
    halves = [half for case in cases if (half := mirrored_half(case)) is not None]
    return halves + [
        tumor_free_phantom(seed, variation=VARIATION)
        for seed in tqdm(range(FIRST_SEED, FIRST_SEED + phantoms), desc="phantoms", mininterval=10)
    ]


def free_half(t1: Tensor, tumor: Tensor, *, spacing: float = 1.0) -> FreeHalf | None:
    """The half of a brain without the tumor; None if the tumor is in both, or too near to the plane between them.

    Parameters
    ----------
    t1 : (I, J, K) in the box of the brain, i to the left or to the right, z-scored over the brain, 0 outside
    tumor : (I, J, K) bool; if it is empty, the half with low i is returned
    spacing : along i in mm
    """
    total = midplane(t1, spacing=spacing)
    columns = torch.nonzero(tumor.any(dim=2).any(dim=1)).flatten()
    if not len(columns):
        return FreeHalf(total, keep_below=True)
    middle, clearance = total / 2, CLEARANCE / spacing
    if columns.min() <= middle + clearance and columns.max() >= middle - clearance:
        return None
    return FreeHalf(total, keep_below=float(columns.min()) > middle)


def midplane(image: Tensor, *, spacing: float = 1.0) -> int:
    """i + i' of the voxels i and i' of (I, J, K) that mirror each other best: twice the plane's index.

    spacing : along i in mm
    """
    thin = image[:, ::2, ::2]
    size, reach = len(thin), round(REACH / spacing)

    def likeness(total: int) -> float:
        below, above = _halves(size, total)
        return float(torch.corrcoef(torch.stack([thin[below].flatten(), thin[above].flatten()]))[0, 1])

    return max(range(size - 1 - 2 * reach, size + 2 * reach), key=likeness)


def _halves(size: int, total: int) -> tuple[Tensor, Tensor]:
    """Indices on one side of the plane, and those of their mirror images, both within 0 to ``size``."""
    below = torch.arange(max(0, total - size + 1), (total + 1) // 2)
    return below, total - below
