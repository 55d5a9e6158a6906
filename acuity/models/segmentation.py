"""Finding the tumor in four co-registered sequences, or in those of them that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain, combinations

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acuity.anatomy import Region, Sequence, regions_to_labels
from acuity.errors import MissingSequenceError
from acuity.imaging.forward_model import resize_cubic
from acuity.imaging.intensity import zscore
from acuity.imaging.regions import DEFAULT, Postprocessing, calibrated, mask_box, tidied
from acuity.models.bundle import Bundle
from acuity.networks.cascade import CoarseToFine
from acuity.volume import Grid, Volume

WORKING_SPACING = 1.0  # mm, what the networks were trained at
SUSPICIOUS = 0.2  # probability of whole tumor above which the fine network looks
CONTEXT = 12  # voxels that it sees around

Progress = Callable[[float], None]
Views = tuple[tuple[int, ...], ...]  # the axes of (C, I, J, K) that each view mirrors
ONE_VIEW: Views = ((),)
LEFT_RIGHT: Views = ((), (1,))
ALL_VIEWS: Views = tuple(chain.from_iterable(combinations((1, 2, 3), n) for n in range(4)))


@dataclass(frozen=True)
class SegmentationResult:
    """Labels and probabilities on the grid of the images.

    Parameters
    ----------
    labels : uint8 0, 1, 2, 4
    probabilities : float32 (3, I, J, K), ET, TC, WT, calibrated, 0 outside the brain; before the masks are tidied
    """

    labels: Volume
    probabilities: NDArray[np.float32]


def segment(
    volumes: Mapping[Sequence, Volume], brain: Volume, bundle: Bundle, *, progress: Progress | None = None
) -> SegmentationResult:
    """Segment the tumor: the coarse network over the brain, the fine one where that suspects a tumor.

    The coarse one's logits are averaged over mirrored views; what is taken, given and raised is as in ``segment_by``.
    """
    report = progress or (lambda _: None)
    network: CoarseToFine = bundle.network  # type: ignore[assignment]
    return segment_by(
        lambda image: coarse_to_fine(image, network, report), volumes, brain, bundle.device, bundle.postprocessing
    )


def segment_by(
    logits_of: Callable[[Tensor], Tensor],
    volumes: Mapping[Sequence, Volume],
    brain: Volume,
    device: torch.device,
    postprocessing: Postprocessing = DEFAULT,
) -> SegmentationResult:
    """Segment the tumor by any network of whole brains.

    The images are brought to the networks' 1 mm and patient axes inside, and the probabilities back to the images'
    grid.

    Parameters
    ----------
    logits_of : takes a brain (4, I, J, K) at 1 mm on ``device``, z-scored, i to the left, j to the back, k to the
        head; gives the logits (3, I, J, K) of ET, TC, WT
    volumes : the sequences on one grid, in any intensities; one that is unknown is left out
    brain : uint8 mask on that grid
    postprocessing : what the logits are made masks by

    Raises
    ------
    MissingSequenceError : where no sequence is there
    PreparationError : where a sequence has no contrast inside the brain
    ValueError : where the grids differ
    """
    grid = brain.grid
    normalized = network_channels(volumes, brain)
    box = mask_box(brain.array > 0)
    assert box is not None  # an empty brain has no contrast
    to_canonical = _CanonicalAxes(grid)
    image = to_canonical.forward(torch.from_numpy(normalized[(slice(None), *box)]))
    spacing = to_canonical.spacing
    size = tuple(max(1, round(n * s / WORKING_SPACING)) for n, s in zip(image.shape[1:], spacing, strict=True))
    working = _resize(image, size).to(device)
    with torch.inference_mode():
        logits = _resize(logits_of(working).cpu(), tuple(image.shape[1:]))
    cropped = calibrated(to_canonical.backward(logits).numpy(), postprocessing.temperatures)
    probabilities = np.zeros((len(Region), *grid.shape), dtype=np.float32)
    probabilities[(slice(None), *box)] = cropped * (brain.array[box] > 0)
    labels = regions_to_labels(tidied(probabilities, postprocessing, voxel_ml=grid.voxel_volume))
    return SegmentationResult(brain.with_array(labels), probabilities)


def network_channels(volumes: Mapping[Sequence, Volume], brain: Volume) -> NDArray[np.float32]:
    """What networks see: (4, I, J, K), each sequence z-scored over the brain.

    A sequence that is left out of ``volumes`` is 0 everywhere, as training shows networks one that is missing.

    Raises
    ------
    As ``segment_by``.
    """
    if not volumes:
        raise MissingSequenceError(
            "No sequence is given.",
            rule="A tumor is sought in one sequence at least.",
            remedy=f"Give any of {', '.join(Sequence)}.",
        )
    channels = np.zeros((len(Sequence), *brain.shape), dtype=np.float32)
    for channel, sequence in zip(channels, Sequence, strict=True):
        if sequence in volumes:
            if not volumes[sequence].grid.same_as(brain.grid):
                raise ValueError(f"{sequence.value} is not on the grid of the brain mask")
            channel[:] = zscore(volumes[sequence], brain).array
    return channels


def coarse_to_fine(
    image: Tensor,
    network: CoarseToFine,
    progress: Progress = lambda _: None,
    *,
    coarse_views: Views = ALL_VIEWS,
    fine_views: Views = ONE_VIEW,  # the released one sees three planes by four members
) -> Tensor:
    """Logits (3, I, J, K) for a brain (4, I, J, K) at 1 mm, each stage averaged over its views.

    The fine network sees only the box of what the coarse one finds suspicious: borders matter there alone.
    """
    logits = mean_of_views(network.coarse_logits, image, coarse_views, lambda done: progress(0.3 * done))
    box = suspicious_box(logits)
    if network.fine_weight == 0 or box is None:
        return logits
    fine = mean_of_views(network.fine_logits, image[box], fine_views, lambda done: progress(0.3 + 0.7 * done))
    logits[box] = network.fine_weight * fine + (1 - network.fine_weight) * logits[box]
    return logits


def mean_of_views(
    logits_of: Callable[[Tensor], Tensor], image: Tensor, views: Views, progress: Progress = lambda _: None
) -> Tensor:
    """Logits (3, I, J, K) of an image (4, I, J, K), each view mirrored back before the mean.

    logits_of : takes and gives batches
    """
    total = torch.zeros_like(image[:3])
    for number, axes in enumerate(views, start=1):
        total += logits_of(image.flip(axes)[None])[0].flip(axes) / len(views)
        progress(number / len(views))
    return total


def suspicious_box(coarse_logits: Tensor) -> tuple[slice, ...] | None:
    """Of (3, I, J, K), where the fine network looks: all channels of a box; None where nothing is suspicious."""
    suspicious = torch.sigmoid(coarse_logits[list(Region).index(Region.WT)]) > SUSPICIOUS
    box = mask_box(suspicious.cpu().numpy())
    if box is None:
        return None
    sizes = coarse_logits.shape[1:]
    near = (slice(max(0, s.start - CONTEXT), min(n, s.stop + CONTEXT)) for s, n in zip(box, sizes, strict=True))
    return (slice(None), *near)


class _CanonicalAxes:
    """Arrays with i to the left, j to the back, k to the head, as BraTS stores them, and back again."""

    def __init__(self, grid: Grid) -> None:
        # nibabel's "RAS" axis codes, applied to an LPS affine, read L, P, S.
        self._order = nib.orientations.io_orientation(grid.affine)
        order = self._order[:, 0].astype(int)
        self._to = [int(axis) for axis in np.argsort(order)]
        self._back = [int(axis) for axis in order]
        self._flips = [axis + 1 for axis in range(3) if self._order[self._to[axis], 1] < 0]
        self.spacing = grid.spacing[self._to]

    def forward(self, image: Tensor) -> Tensor:
        """(C, I, J, K) of the grid to canonical axes."""
        return image.permute(0, *[axis + 1 for axis in self._to]).flip(self._flips)

    def backward(self, image: Tensor) -> Tensor:
        """The reverse of ``forward``."""
        return image.flip(self._flips).permute(0, *[axis + 1 for axis in self._back])


def _resize(image: Tensor, size: tuple[int, ...]) -> Tensor:
    ratios = tuple(n / m for n, m in zip(image.shape[1:], size, strict=True))
    return resize_cubic(image, size, ratios)
