"""Training the released coarse-to-fine pair, part by part."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from acuity.errors import any_as_data_error
from acuity.models.segmentation import ONE_VIEW, coarse_to_fine
from acuity.networks.cascade import CoarseToFine, part_state
from acuity.research.training import segmentation
from acuity.research.training.data import TrainingData
from acuity.research.training.segmentation import Plan
from acuity.research.training.segmentation_recipe import Recipe

SPACING = {"coarse": 2.0, "fine": 1.0}  # of what each stage sees, in mm


def train(
    network: CoarseToFine,
    part: str,
    recipe: Callable[[nn.Module], Recipe],
    data: TrainingData,
    plan: Plan,
    *,
    folder: str | Path,
    initial_weights: str | Path | None = None,
    device: str | None = None,
) -> Path:
    """Train one part, resuming where it was cut.

    The weights of the whole pair are kept, those of the other stage unchanged; ``load_part`` loads the trained part of
    them. The pair is validated as it is released, but without mirrored views. While the coarse network is trained, the
    fine one has no weight. A member of an ensemble is validated as if it were its whole stage.

    Parameters
    ----------
    part : "coarse" (images at half the resolution), "fine" (full resolution), or a member of either's ensemble, such
        as "fine.networks.0"
    recipe : makes the part's recipe from its network. The patch is in voxels of the stage's resolution: multiples of 8,
        except across the slices of a 2D network
    data : ``halved`` for the coarse stage, see ``acuity.research.training.data.training_data``
    initial_weights : a state_dict of ``network`` to start from

    The others are as in ``acuity.research.training.segmentation.train``, and so are the errors.

    Raises
    ------
    ValueError : data of another resolution than the part's
    """
    stage = part.split(".")[0]
    if data.spacing != SPACING[stage]:
        raise ValueError(f"the data has voxels of {data.spacing:g} mm; {part} is trained at {SPACING[stage]:g} mm")
    if initial_weights is not None:
        network.load_state_dict(torch.load(initial_weights, map_location="cpu", weights_only=True))

    def release(average: nn.Module) -> nn.Module:
        released = copy.deepcopy(network)
        setattr(released, stage, average)
        if stage == "coarse":
            released.fine_weight = 0.0
        return released

    return segmentation.train(
        recipe(network.get_submodule(part)),
        data,
        plan,
        folder=folder,
        device=device,
        release=release,
        logits_of=_one_view,
    )


def load_part(network: CoarseToFine, part: str, weights: str | Path) -> None:
    """Load one part from a file of weights.

    Parameters
    ----------
    part : as ``train`` takes it
    weights : a state_dict as ``acuity.networks.cascade.part_state`` takes it

    Raises
    ------
    DataError : a file that holds no weights of the part
    """
    with any_as_data_error(
        f"{weights} does not hold weights of the part {part}",
        rule="They are a state_dict of the whole network, or of the part alone, of the size that is defined.",
        remedy="Name the best.pt of the part's training, or change the network's definition.",
    ):
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network.get_submodule(part).load_state_dict(part_state(state, part))


def _one_view(network: nn.Module, image: Tensor) -> Tensor:
    assert isinstance(network, CoarseToFine)
    return coarse_to_fine(image, network, coarse_views=ONE_VIEW, fine_views=ONE_VIEW)
