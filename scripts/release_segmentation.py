"""Put the weights of trained coarse-to-fine pairs into the segmentation's bundle.

Each pair's file is best.pt of its fine stage. One pair is released as it is; of several, both stages become ensembles:
configs/inference.json must define the network so before, with the members in the order of the files. Weights are stored
in half precision where that changes no label of the validation cases.
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
from acuity.data import brats
from acuity.data.patches import PreparedCase
from acuity.data.preparation import prepare_cases
from acuity.errors import AcuityError, DataError
from acuity.imaging.regions import DEFAULT, Postprocessing, calibrated, tidied
from acuity.inference.bundle import CHOICES
from acuity.inference.segmentation import coarse_to_fine
from acuity.networks.cascade import CoarseToFine, ensemble_state

State = dict[str, Tensor]


def read_pairs(files: Seq[Path]) -> State:
    """The state_dict of the released network.

    Raises
    ------
    DataError : a file that holds no weights
    """
    pairs = []
    for file in files:
        try:
            pairs.append(dict(torch.load(file, map_location="cpu", weights_only=True)))
        except Exception as error:  # torch's restricted unpickler stumbles over foreign bytes in any way
            raise DataError(
                f"{file} cannot be read as weights ({type(error).__name__}).",
                rule="A file of weights is a state_dict of tensors.",
                remedy="Name the best.pt of a pair's fine stage.",
            ) from error
    return ensemble_state(pairs)


def release(bundle: Path, pairs: Seq[Path], cases: Seq[PreparedCase]) -> str:
    """Write models/model.pt of the bundle; all is checked before.

    Parameters
    ----------
    pairs : files of state_dicts of ``CoarseToFine``
    cases : of validation, whose labels decide upon the precision

    Returns
    -------
    What was written, in a sentence.

    Raises
    ------
    DataError : a file that holds no weights, or weights that do not fit the bundle's network
    """
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    network: CoarseToFine = parser.get_parsed_content("network_def")
    postprocessing = parser.get_parsed_content(CHOICES) if CHOICES in parser else DEFAULT
    state = read_pairs(pairs)
    halved = {name: value.half() for name, value in state.items()}
    changed = 0
    for case in tqdm(cases, desc="validation cases"):
        labels = [_labels(_with_weights(network, weights), case, postprocessing) for weights in (state, halved)]
        changed += int((labels[0] != labels[1]).sum())
    _with_weights(network, state)  # without cases too they must fit
    target = bundle / "models" / "model.pt"
    target.parent.mkdir(exist_ok=True)
    torch.save(halved if cases and not changed else state, target)
    precision = "half" if cases and not changed else "single"
    return f"{target}: {precision} precision; half changes {changed} voxels of {len(cases)} validation cases"


def _with_weights(network: CoarseToFine, state: State) -> CoarseToFine:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(
            f"The weights do not fit the bundle's network: {error}",
            rule="configs/inference.json defines what is released, its ensembles in the order of the pairs.",
            remedy="Change its network_def, or name other files.",
        ) from error
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def _labels(network: CoarseToFine, case: PreparedCase, postprocessing: Postprocessing) -> NDArray[np.uint8]:
    logits = coarse_to_fine(case.image.float(), network).numpy()
    return regions_to_labels(tidied(calibrated(logits, postprocessing.temperatures), postprocessing))


def main(arguments: Seq[str] | None = None) -> int:
    """Read the command line and release; the exit code is 0, or the error's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, nargs="+", required=True, metavar="FILE", help="best.pt of a fine stage")
    parser.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="the bundle's folder")
    parser.add_argument("--data", type=Path, required=True, metavar="BRATS", help="folder with the validation cases")
    options = parser.parse_args(arguments)
    try:
        cases = prepare_cases(brats.data_folder(options.data), brats.read_split()["validation"])
        print(release(options.bundle, options.pair, cases))
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
