"""Finding the tumor in co-registered sequences, all four or fewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from itertools import chain, combinations

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
from acuity.models.progress import Progress, share
from acuity.networks.cascade import CoarseToFine
from acuity.volume import Volume

WORKING_SPACING = 1.0  # mm, what the networks were trained at
SUSPICIOUS = 0.2  # probability of whole tumor; the fine network sees the box of all voxels above
CONTEXT = 12  # voxels around that box

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
    """Segment the tumor by a bundle's coarse and fine network, see ``coarse_to_fine`` and ``segment_by``."""
    network: CoarseToFine = bundle.network  # type: ignore[assignment]
    return segment_by(
        lambda image: coarse_to_fine(image, network, progress), volumes, brain, bundle.device, bundle.postprocessing
    )


def segment_by(
    logits_of: Callable[[Tensor], Tensor],
    volumes: Mapping[Sequence, Volume],
    brain: Volume,
    device: torch.device,
    postprocessing: Postprocessing = DEFAULT,
) -> SegmentationResult:
    """Segment the tumor by any network of whole brains.

    The images are brought to the networks' spacing and axes, and the probabilities back to the images' grid.

    Parameters
    ----------
    logits_of : takes a brain (4, I, J, K) at 1 mm on ``device``, z-scored, i to the left, j to the back, k to the
        head; gives the logits (3, I, J, K) of ET, TC, WT
    volumes : one sequence or more, in any intensities, all on the grid of ``brain``
    brain : uint8 mask
    postprocessing : makes masks of the logits

    Raises
    ------
    MissingSequenceError : ``volumes`` is empty
    PreparationError : a sequence has no contrast inside the brain
    ValueError : the grids differ
    """
    grid = brain.grid
    normalized = network_channels(volumes, brain)
    box = mask_box(brain.array > 0)
    assert box is not None  # an empty brain has no contrast
    image = torch.from_numpy(np.ascontiguousarray(grid.to_canonical(normalized[(slice(None), *box)])))
    spacing = grid.canonical().spacing.tolist()
    with torch.inference_mode():
        logits = at_working_spacing(lambda brain: logits_of(brain.to(device)).cpu(), image, spacing)
    cropped = calibrated(grid.from_canonical(logits.numpy()), postprocessing.temperatures)
    probabilities = np.zeros((len(Region), *grid.shape), dtype=np.float32)
    probabilities[(slice(None), *box)] = cropped * (brain.array[box] > 0)
    labels = regions_to_labels(tidied(probabilities, postprocessing, voxel_ml=grid.voxel_volume))
    return SegmentationResult(brain.with_array(labels), probabilities)


def at_working_spacing(logits_of: Callable[[Tensor], Tensor], image: Tensor, spacing: Seq[float]) -> Tensor:
    """Logits (3, I, J, K) of a brain (4, I, J, K) of any spacing (mm), by networks that see it at WORKING_SPACING."""
    shape = tuple(image.shape[1:])
    size = tuple(max(1, round(n * s / WORKING_SPACING)) for n, s in zip(shape, spacing, strict=True))
    return _resize(logits_of(_resize(image, size)), shape)


def network_channels(volumes: Mapping[Sequence, Volume], brain: Volume) -> NDArray[np.float32]:
    """The networks' input: (4, I, J, K), each sequence z-scored over the brain; raises as ``segment_by``.

    A sequence that ``volumes`` lacks is 0 everywhere, as it is in training.
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
    progress: Progress | None = None,
    *,
    coarse_views: Views = ALL_VIEWS,
    fine_views: Views = ONE_VIEW,  # the released one is a mean already, of three planes and four networks
) -> Tensor:
    """Logits (3, I, J, K) for a brain (4, I, J, K) at 1 mm, each stage averaged over its views.

    The coarse network sees the whole brain, the fine one the ``suspicious_box`` only.
    """
    logits = mean_of_views(network.coarse_logits, image, coarse_views, share(progress, 0, 0.3))
    box = suspicious_box(logits)
    if network.fine_weight == 0 or box is None:
        return logits
    fine = mean_of_views(network.fine_logits, image[box], fine_views, share(progress, 0.3, 1))
    logits[box] = network.fine_weight * fine + (1 - network.fine_weight) * logits[box]
    return logits


def mean_of_views(
    logits_of: Callable[[Tensor], Tensor], image: Tensor, views: Views, progress: Progress | None = None
) -> Tensor:
    """Logits (3, I, J, K) of an image (4, I, J, K), each view mirrored back before the mean.

    ``logits_of`` takes and gives batches.
    """
    total = torch.zeros_like(image[:3])
    for number, axes in enumerate(views, start=1):
        total += logits_of(image.flip(axes)[None])[0].flip(axes) / len(views)
        if progress:
            progress(number / len(views))
    return total


def suspicious_box(coarse_logits: Tensor) -> tuple[slice, ...] | None:
    """The box of (3, I, J, K), all channels of it, that the fine network sees; None where nothing is suspicious."""
    suspicious = torch.sigmoid(coarse_logits[list(Region).index(Region.WT)]) > SUSPICIOUS
    box = mask_box(suspicious.cpu().numpy(), CONTEXT)
    return None if box is None else (slice(None), *box)


def _resize(image: Tensor, size: tuple[int, ...]) -> Tensor:
    ratios = tuple(n / m for n, m in zip(image.shape[1:], size, strict=True))
    return resize_cubic(image, size, ratios)
