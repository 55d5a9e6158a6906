"""Put trained weights into the segmentation's bundle.

A file is best.pt of all that configs/inference.json's network_def defines, or of one part of it, named as in
`fine.networks.0=FILE`: "coarse", "fine", or a member of either's ensemble. Parts come from trainings of the coarse-to-
fine pair or from those of a network alone (`acuity train seg`). Of FILE+FILE, whose names hold no other "+", the mean
is taken, where both are rounds of one training. Weights are stored in half precision where that changes next to no
label of the validation cases.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from acuity.anatomy import regions_to_labels
from acuity.errors import AcuityError, DataError
from acuity.imaging.regions import DEFAULT, Postprocessing, calibrated, tidied
from acuity.models.bundle import CHOICES
from acuity.models.segmentation import coarse_to_fine
from acuity.networks.cascade import CoarseToFine, Ensemble
from acuity.research.datasets import brats
from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import prepare_cases
from acuity.research.training.cascade import load_part

LARGEST_CHANGE = 1e-3  # of the labeled voxels by half precision: far below what two readers differ by

State = dict[str, Tensor]


def assembled(network: CoarseToFine, weights: Seq[str]) -> State:
    """The state_dict of the network with all its parts loaded, each exactly once.

    Parameters
    ----------
    weights : files, or parts and files as "fine.networks.0=FILE"; of files joined by "+" the mean is taken (Izmailov et
        al., "Averaging Weights Leads to Wider Optima and Better Generalization", arXiv:1803.05407)

    Raises
    ------
    DataError : a file that holds no weights of its part, or a part that is unknown, left out or given twice
    """
    files: dict[str, list[str]] = {part: [] for part in _parts(network)}
    for item in weights:
        named, _, file = item.rpartition("=")
        parts = [part for part in files if not named or f"{part}.".startswith(f"{named}.")]
        for part in parts or [named]:
            files.setdefault(part, []).append(file)
    for part, given in files.items():
        if part not in _parts(network) or len(given) != 1:
            raise DataError(
                f"Weights of {part} are given {len(given)} times.",
                rule="Each part of configs/inference.json's network_def is given once.",
                remedy=f"The parts are {', '.join(_parts(network))}.",
            )
        _load_mean(network, part, given[0].split("+"))
    return {name: value.clone() for name, value in network.state_dict().items()}


def _load_mean(network: CoarseToFine, part: str, files: Seq[str]) -> None:
    # AveragedModel of torch takes means of batch normalization's counters, too, or leaves its statistics out.
    states: list[State] = []
    for file in files:
        load_part(network, part, file)
        states.append({name: value.clone() for name, value in network.get_submodule(part).state_dict().items()})
    for name, value in network.get_submodule(part).state_dict().items():
        if value.is_floating_point():  # counters are the last file's
            value.copy_(torch.stack([state[name] for state in states]).mean(dim=0))


def _parts(network: CoarseToFine) -> list[str]:
    """Every network that was trained for itself."""
    parts = []
    for name, stage in network.named_children():
        members = len(stage.networks) if isinstance(stage, Ensemble) else 0
        parts += [f"{name}.networks.{n}" for n in range(members)] or [name]
    return parts


def release(bundle: Path, weights: Seq[str], cases: Seq[PreparedCase]) -> str:
    """Write models/model.pt of the bundle; all is checked before.

    Parameters
    ----------
    weights : as ``assembled`` takes them
    cases : of validation, whose labels decide upon the precision

    Returns
    -------
    What was written, in a sentence.

    Raises
    ------
    DataError : see ``assembled``
    """
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    network: CoarseToFine = parser.get_parsed_content("network_def").eval().requires_grad_(False)
    postprocessing = parser.get_parsed_content(CHOICES) if CHOICES in parser else DEFAULT
    state = assembled(network, weights)
    halved = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    changed, found = 0, 0
    for case in tqdm(cases, desc="validation cases"):
        network.load_state_dict(state)
        full = _labels(network, case, postprocessing)
        network.load_state_dict(halved)
        changed += int((full != _labels(network, case, postprocessing)).sum())
        found += int((full > 0).sum())
    finite = all(bool(value.isfinite().all()) for value in halved.values())
    half = bool(cases) and finite and changed <= LARGEST_CHANGE * found
    target = bundle / "models" / "model.pt"
    target.parent.mkdir(exist_ok=True)
    torch.save(halved if half else state, target)
    return (
        f"{target}: {'half' if half else 'single'} precision; half changes {changed} of the {found} voxels that are"
        f" labeled in {len(cases)} validation cases"
    )


@torch.inference_mode()
def _labels(network: CoarseToFine, case: PreparedCase, postprocessing: Postprocessing) -> NDArray[np.uint8]:
    logits = coarse_to_fine(case.image.float(), network).numpy()
    return regions_to_labels(tidied(calibrated(logits, postprocessing.temperatures), postprocessing))


def main(arguments: Seq[str] | None = None) -> int:
    """Read the command line and release; the exit code is 0, or the error's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weights", nargs="+", required=True, metavar="[PART=]FILE[+FILE]", help="best.pt of trainings"
    )
    parser.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="the bundle's folder")
    parser.add_argument("--data", type=Path, required=True, metavar="BRATS", help="folder with the validation cases")
    options = parser.parse_args(arguments)
    try:
        cases = prepare_cases(brats.data_folder(options.data), brats.read_split()["validation"])
        print(release(options.bundle, options.weights, cases))
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
