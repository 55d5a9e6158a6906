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
from acuity.imaging.regions import DEFAULT, Postprocessing, calibrated, mask_box, part_boxes, tidied
from acuity.models.bundle import Bundle
from acuity.models.progress import Progress, share
from acuity.networks.cascade import CoarseToFine
from acuity.volume import Volume

WORKING_SPACING = 1.0  # mm, what the networks were trained at
# Probabilities of whole tumor above which the fine network looks closely: of the coarse network, and of the fine one's
# own quick look, which takes more for tumor because it sees each slice once.
SUSPICIOUS, SEEN = 0.2, 0.5
SMALLEST_SUSPICION = 100  # voxels; a tenth of a milliliter, a fifth of the smallest part that is ever shown
CONTEXT = 12  # voxels around a suspicious part

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
    volumes: Mapping[Sequence, Volume],
    brain: Volume,
    bundle: Bundle,
    *,
    shown: Mapping[Sequence, Volume] | None = None,
    progress: Progress | None = None,
) -> SegmentationResult:
    """Segment the tumor by a bundle's coarse and fine network, see ``coarse_to_fine`` and ``segment_by``."""
    network: CoarseToFine = bundle.network  # type: ignore[assignment]
    return segment_by(
        lambda image: coarse_to_fine(image, network, progress),
        volumes,
        brain,
        bundle.device,
        bundle.postprocessing,
        shown=shown,
    )


def segment_by(
    logits_of: Callable[[Tensor], Tensor],
    volumes: Mapping[Sequence, Volume],
    brain: Volume,
    device: torch.device,
    postprocessing: Postprocessing = DEFAULT,
    *,
    shown: Mapping[Sequence, Volume] | None = None,
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
    shown : as ``network_channels`` takes it

    Raises
    ------
    MissingSequenceError : ``volumes`` is empty
    PreparationError : a sequence has no contrast inside the brain
    ValueError : the grids differ
    """
    grid = brain.grid
    normalized = network_channels(volumes, brain, shown)
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


def network_channels(
    volumes: Mapping[Sequence, Volume], brain: Volume, shown: Mapping[Sequence, Volume] | None = None
) -> NDArray[np.float32]:
    """The networks' input: (4, I, J, K), each sequence z-scored over the brain; raises as ``segment_by``.

    A sequence that ``volumes`` lacks is 0 everywhere, as it is in training.

    Parameters
    ----------
    shown : of sequences that show a part of the brain, the uint8 mask of that part; elsewhere they count as missing
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
            part = brain.array * shown[sequence].array if shown and sequence in shown else brain.array
            channel[:] = zscore(volumes[sequence], brain.with_array(part)).array
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

    The coarse network sees the whole brain, the fine one the ``suspicious_boxes`` only.
    """
    logits = mean_of_views(network.coarse_logits, image, coarse_views, share(progress, 0, 0.3))
    if network.fine_weight == 0:
        return logits
    boxes = suspicious_boxes(logits, network.search_logits(image[None]))
    for number, box in enumerate(boxes):
        told = share(progress, 0.3 + 0.7 * number / len(boxes), 0.3 + 0.7 * (number + 1) / len(boxes))
        fine = mean_of_views(network.fine_logits, image[box], fine_views, told)
        logits[box] = network.joined(fine, logits[box])
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


def suspicious_boxes(coarse_logits: Tensor, search_logits: Tensor | None) -> list[tuple[slice, ...]]:
    """The boxes of (3, I, J, K), all channels of them, that the fine network sees; none where nothing is suspicious.

    Parameters
    ----------
    coarse_logits : (3, I, J, K)
    search_logits : (1, 3, I, J, K) of ``CoarseToFine.search_logits``: what either stage sees is looked at
    """
    whole_tumor = list(Region).index(Region.WT)
    suspicious = torch.sigmoid(coarse_logits[whole_tumor]) > SUSPICIOUS
    if search_logits is not None:
        suspicious |= torch.sigmoid(search_logits[0, whole_tumor]) > SEEN
    boxes = part_boxes(suspicious.cpu().numpy(), smallest=SMALLEST_SUSPICION, margin=CONTEXT)
    return [(slice(None), *box) for box in boxes]


def _resize(image: Tensor, size: tuple[int, ...]) -> Tensor:
    ratios = tuple(n / m for n, m in zip(image.shape[1:], size, strict=True))
    return resize_cubic(image, size, ratios)
