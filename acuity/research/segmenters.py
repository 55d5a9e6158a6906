"""One type for all that segments tumors, so that every family is run and scored alike."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from acuity.anatomy import Sequence
from acuity.errors import DataError, any_as_data_error
from acuity.models.bundle import Bundle
from acuity.models.segmentation import LEFT_RIGHT, SegmentationResult, Views, mean_of_views, segment, segment_by
from acuity.networks.cascade import STRIDE, pad_to_multiple
from acuity.research.recipe_file import read_entry
from acuity.volume import Volume


class Segmenter(Protocol):
    """Finds the tumor in four co-registered sequences."""

    def __call__(self, volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
        """Labels and probabilities on the grid of ``brain``; see ``acuity.models.segmentation.segment_by``."""


def bundle_segmenter(bundle: Bundle) -> Segmenter:
    """The released coarse-to-fine pair."""
    return partial(segment, bundle=bundle)


def network_segmenter(network: nn.Module, *, views: Views = LEFT_RIGHT) -> Segmenter:
    """A network that sees the whole brain at 1 mm, its logits averaged over mirrored views.

    Parameters
    ----------
    network : (N, 4, I, J, K), multiples of 16, to logits (N, 3, I, J, K); in eval mode
    views : the axes that each view mirrors. Patients' left and right alone by default: the training mirrors all
        axes, but every view takes as long as the first
    """
    device = next(network.parameters()).device

    def run(volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
        return segment_by(lambda image: whole_brain_logits(network, image, views), volumes, brain, device)

    return run


def whole_brain_logits(network: nn.Module, image: Tensor, views: Views) -> Tensor:
    """Logits (3, I, J, K) for a brain (4, I, J, K) of any size, each view mirrored back before the mean."""
    i, j, k = image.shape[1:]
    return mean_of_views(lambda batch: network(pad_to_multiple(batch, STRIDE))[..., :i, :j, :k].float(), image, views)


def load_segmenter(recipe: Path, weights: Path, *, device: str | None = None) -> Segmenter:
    """A network that ``acuity train seg`` trained.

    Parameters
    ----------
    recipe : its YAML file, see ``acuity.research.training.segmentation_recipe``
    weights : a state_dict of the recipe's network, compact or as published: its shapes tell which; read with
        ``weights_only=True``
    device : "cpu" or "cuda", instead of what is found

    Raises
    ------
    DataError : either file is absent, or they do not belong together
    """
    with any_as_data_error(
        f"{weights} cannot be read as weights",
        rule="A file of weights is a state_dict of tensors.",
        remedy="Name the best.pt that `acuity train seg` wrote.",
    ):
        state = torch.load(weights, map_location="cpu", weights_only=True)
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    for compact in (True, False):
        network: nn.Module = read_entry(recipe, "recipe#network", compact=compact, pretrained=False)
        try:
            network.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError):
            continue
        return network_segmenter(network.eval().requires_grad_(False).to(target))
    raise DataError(
        f"{weights} does not fit the network of the recipe {recipe.stem}.",
        rule="The weights must be of the recipe's network, compact or as published.",
        remedy="Name the recipe that they were trained by.",
    )
