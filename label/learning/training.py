"""Fine-tuning of the served segmentation on corrected cases, and the gate that its result has to pass."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from acuity.errors import BundleError, DataError
from acuity.models.bundle import Bundle, load_bundle
from acuity.networks.cascade import CoarseToFine
from acuity.networks.slicewise import sees_several_planes
from acuity.research.training import cascade
from acuity.research.training.data import training_data
from acuity.research.training.segmentation import Plan
from acuity.research.training.segmentation_recipe import Recipe
from label.learning.cases import Corrected, scored, training_case
from label.learning.lists import Lists, read_lists, write_lists
from label.learning.scoring import mean_scores
from label.learning.versions import Candidate, Versions

LISTS = "patients.json"

# What networks of slices are trained on in a step, as the released ones were.
SLICES = ((128, 160, 3), 8)  # voxels of a patch, patches of a step

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How much is trained; the defaults take two CPU cores about ten minutes.

    Parameters
    ----------
    iterations : of each stage, coarse and fine
    learning_rate : after a warm-up of 50 iterations; a tenth to a fifth of that of a first training
    patch : voxels, multiples of 16; networks of slices see ``SLICES`` instead
    seed : of what is drawn

    Raises
    ------
    DataError : a value outside its range
    """

    iterations: int = 150
    learning_rate: float = 2e-4
    patch: tuple[int, int, int] = (48, 64, 48)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.iterations <= 100_000:
            raise DataError(
                f"{self.iterations} iterations are asked for.", rule="They are 1 to 100000.", remedy="Ask for 150."
            )
        if not 0 < self.learning_rate <= 0.01:
            raise DataError(
                f"The learning rate is {self.learning_rate:g}.",
                rule="It is above 0 and at most 0.01.",
                remedy="Ask for 0.0002.",
            )
        if any(size % 16 or size < 16 for size in self.patch):
            raise DataError(
                f"The patch is {self.patch}.", rule="Its sizes are multiples of 16.", remedy="Ask for 48, 64, 48."
            )


def no_worse(candidate: Mapping[str, Any], served: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a candidate may be served in place of what is, by the mean Dice on the validation list; and why."""
    new, old = float(candidate["dice"]), float(served["dice"])
    passed = new >= old
    said = f"mean Dice {new:.4f} on {candidate['cases']} validation cases, {old:.4f} of the model that is served"
    return passed, f"Served: {said}." if passed else f"Kept aside: {said}."


def fine_tune(versions: Versions, folder: Path, cases: Seq[Corrected], settings: Settings) -> Candidate:
    """Train the served model on, score the result and the served one on the validation list, serve the better.

    A training that was stopped is taken up again by the next one that asks for the same.

    Parameters
    ----------
    folder : with the lists of patients
    cases : all that are corrected; the lists decide which of them are trained on

    Returns
    -------
    The candidate; whether it is served, it says.

    Raises
    ------
    DataError : there are not two patients, one to train on and one to validate on; or a case cannot be used
    ModelError : the served model cannot be loaded
    """
    lists = read_lists(folder / LISTS)
    lists = lists.assigned(lists.key(case.patient) for case in cases)
    write_lists(lists, folder / LISTS)
    train, validation = parts(cases, lists)
    parent = versions.served
    work = versions.folder / "work" / _digest(parent, versions, train, validation, settings)
    _log.info("training on %d cases, validating on %d, from version %d", len(train), len(validation), parent)
    weights = _trained(versions.bundle(), versions.weights(parent), train, validation, settings, work)
    candidate = load_bundle(versions.bundles, versions.name, weights=weights)
    pairs = [scored(case, (candidate, versions.bundle())) for case in validation]
    figures = {"candidate": mean_scores([new for new, _ in pairs]), "served": mean_scores([old for _, old in pairs])}
    passed, reason = no_worse(figures["candidate"], figures["served"])
    made = versions.add(
        weights,
        parent=parent,
        passed=passed,
        reason=reason,
        figures=figures,
        training={**asdict(settings), "cases": len(train), "validation_cases": len(validation)},
    )
    shutil.rmtree(work, ignore_errors=True)  # what it held is in the candidate
    _log.info("version %d. %s", made.number, reason)
    return made


def parts(cases: Seq[Corrected], lists: Lists) -> tuple[list[Corrected], list[Corrected]]:
    """Cases to train on and to validate on.

    Raises
    ------
    DataError : there are none of one kind
    """
    train = [case for case in cases if lists.key(case.patient) in lists.train]
    validation = [case for case in cases if lists.key(case.patient) in lists.validation]
    if not (train and validation):
        raise DataError(
            f"{len(train)} corrected cases are there to train on and {len(validation)} to validate on.",
            rule="Both are needed, of different patients, or nobody knows whether the training made the model worse.",
            remedy="Correct cases of more patients.",
        )
    return train, validation


def _trained(
    served: Bundle, start: Path, train: Seq[Corrected], validation: Seq[Corrected], settings: Settings, work: Path
) -> Path:
    """The weights of both stages, trained one after the other."""
    train_cases = [training_case(case, f"case {number}") for number, case in enumerate(train, start=1)]
    # The gate scores all; this one is for the trainer's log alone: the last weights are kept, not the best.
    shown = [training_case(validation[0], "validation")]
    network = copy.deepcopy(served.network).requires_grad_(True)
    if not isinstance(network, CoarseToFine):
        raise BundleError(
            f"The network of {served.name} is {type(network).__name__}.",
            rule="A coarse-to-fine pair is trained on.",
            remedy="Serve the released bundle.",
        )
    weights = start
    for part in ("coarse", "fine"):
        _log.info("part %s", part)
        patch, batch = SLICES if sees_several_planes(network.get_submodule(part)) else (settings.patch, 1)
        weights = cascade.train(
            network,
            part,
            partial(Recipe, patch=patch, batch=batch, learning_rate=settings.learning_rate),
            training_data(train_cases, shown, halved=part == "coarse"),
            Plan(
                settings.iterations,
                ema=0.98,
                seed=settings.seed,
                validate_every=settings.iterations,
                frozen_statistics=True,
            ),
            folder=work / part,
            initial_weights=weights,
        )
    return weights


def _digest(
    parent: int, versions: Versions, train: Seq[Corrected], validation: Seq[Corrected], settings: Settings
) -> str:
    """What a training is: another one with the same digest is the same, and goes on where it stopped."""

    def hashes(cases: Seq[Corrected]) -> list[str]:
        return [hashlib.sha256(case.image.read_bytes() + case.labels.read_bytes()).hexdigest() for case in cases]

    what = [parent, versions.bundle().weights_sha256, hashes(train), hashes(validation), asdict(settings)]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
