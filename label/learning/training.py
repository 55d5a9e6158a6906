"""Training as MONAI Label starts it: fine-tuning on corrected cases, the gate for its result, and the way back."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Seq
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask
from pydantic import BaseModel, ConfigDict, Field
from torch.optim.optimizer import register_optimizer_step_post_hook

from acuity.errors import AcuityError, BundleError, DataError
from acuity.models.bundle import Bundle, load_bundle
from acuity.networks.cascade import CoarseToFine
from acuity.networks.slicewise import sees_several_planes
from acuity.research.training import cascade
from acuity.research.training.data import training_data
from acuity.research.training.segmentation import Plan
from acuity.research.training.segmentation_recipe import Recipe
from label.learning.cases import Corrected, corrected_cases, scored, training_case
from label.learning.patients import Patients, read_patients, write_patients
from label.learning.scoring import mean_scores
from label.request import checked
from label.status import TrainingStatus
from label.versions import Candidate, Versions

PATIENTS, STATUS = "patients.json", "training.json"
PREVIOUS = "previous"

# Networks of slices are trained as the released ones were: voxels of a patch, patches of a step.
SLICES = ((128, 160, 3), 8)
_PARTS = ("coarse", "fine")

_log = logging.getLogger(__name__)
_Size = Annotated[int, Field(ge=16, multiple_of=16)]
# The number of steps that are done, and the part that is trained.
Report = Callable[[int, str], None]


class Settings(BaseModel):
    """How much is trained; the defaults take two CPU cores about ten minutes.

    Parameters
    ----------
    iterations : of each stage, coarse and fine
    learning_rate : after a warm-up of 50 iterations; a tenth to a fifth of that of a first training
    patch : voxels; networks of slices see ``SLICES`` instead
    seed : of the random draws
    """

    model_config = ConfigDict(frozen=True)

    iterations: Annotated[int, Field(ge=1, le=100_000)] = 150
    learning_rate: Annotated[float, Field(gt=0, le=0.01)] = 2e-4
    patch: tuple[_Size, _Size, _Size] = (48, 64, 48)
    seed: int = 0


class FineTuning(TrainTask):
    """Fine-tunes the segmentation on the cases that people corrected.

    Its status is that of ``GET /train/``; its result stands in ``train_stats`` of ``/info/``.

    Parameters
    ----------
    versions : of the model
    folder : with the lists of patients
    """

    def __init__(self, versions: Versions, folder: Path) -> None:
        super().__init__("Fine-tunes the segmentation on corrected cases; serves the result if it is no worse")
        self._versions = versions
        self._folder = folder

    def config(self) -> dict[str, Any]:
        """The keys of a request, with the defaults."""
        return {**Settings().model_dump(include={"iterations", "learning_rate"}), "rollback": ""}

    def stats(self) -> dict[str, Any]:
        """The version that is served, and all candidates with their figures."""
        return self._versions.describe()

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, or serve another version.

        Parameters
        ----------
        request : fields of ``Settings``; or "rollback", the number of a version (0 is the released one) or "previous".
            "run" names the training in its status. Other keys, which viewers send, do not matter

        Raises
        ------
        DataError : a value is not valid, or there are too few corrected cases
        """
        status = TrainingStatus(self._versions.folder / STATUS, str(request.get("run", "")))
        try:
            outcome = self._perform(request, datastore, status)
        except AcuityError as error:
            status.end(f"{error.found} {error.remedy}")
            raise
        status.end(outcome)
        return self.stats()

    def _perform(self, request: Mapping[str, Any], datastore: Datastore, status: TrainingStatus) -> str:
        """Do what a request asks for; a sentence on the outcome."""
        back = request.get("rollback", "")
        if back == "":
            settings = checked(Settings, dict(request), "request")
            cases = corrected_cases(datastore.datalist())
            steps = settings.iterations * len(_PARTS)
            return fine_tune(
                self._versions, self._folder, cases, settings, lambda step, part: status.report(step, steps, part)
            ).reason
        if back == PREVIOUS:
            self._versions.back()
        else:
            self._versions.serve(checked(int, back, "rollback"))
        return f"Version {self._versions.served} is served."


def fine_tune(
    versions: Versions,
    folder: Path,
    cases: Seq[Corrected],
    settings: Settings,
    report: Report = lambda step, part: None,
) -> Candidate:
    """Train the served model on, score the result and the served one on the validation cases, serve the better.

    A training that was stopped is taken up again by the next one that asks for the same.

    Parameters
    ----------
    folder : with the lists of patients
    cases : all that are corrected; the lists decide which of them are trained on

    Returns
    -------
    The candidate; it says whether it is served.

    Raises
    ------
    DataError : there are not two patients, one to train on and one to validate on; or a case cannot be used
    ModelError : the served model cannot be loaded
    """
    patients = read_patients(folder / PATIENTS)
    patients = patients.assigned(patients.key(case.patient) for case in cases)
    write_patients(patients, folder / PATIENTS)
    train, validation = parts(cases, patients)
    served, parent = versions.bundle(), versions.served
    _log.info("training on %d cases, validating on %d, from version %d", len(train), len(validation), parent)
    work = versions.folder / "work" / _digest(parent, served, train, validation, settings)
    weights = _trained(served, versions.weights(parent), (train, validation), settings, work, report)
    candidate = load_bundle(versions.bundles, versions.name, weights=weights)
    pairs = [scored(case, (candidate, served)) for case in validation]
    figures = {"candidate": mean_scores([new for new, _ in pairs]), "served": mean_scores([old for _, old in pairs])}
    passed, reason = no_worse(figures["candidate"], figures["served"])
    training = {**settings.model_dump(), "cases": len(train), "validation_cases": len(validation)}
    made = versions.add(weights, parent=parent, passed=passed, reason=reason, figures=figures, training=training)
    shutil.rmtree(work, ignore_errors=True)  # its weights are in the candidate
    _log.info("version %d. %s", made.number, reason)
    return made


def no_worse(candidate: Mapping[str, Any], served: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a candidate may replace the served model, by the mean Dice on the validation cases; and why."""
    new, old = float(candidate["dice"]), float(served["dice"])
    passed = new >= old
    scores = f"mean Dice {new:.4f} on {candidate['cases']} validation cases, {old:.4f} of the model that is served"
    return passed, f"Served: {scores}." if passed else f"Kept aside: {scores}."


def parts(cases: Seq[Corrected], patients: Patients) -> tuple[list[Corrected], list[Corrected]]:
    """Cases to train on and to validate on; DataError where there are none of one kind."""
    train = [case for case in cases if patients.key(case.patient) in patients.train]
    validation = [case for case in cases if patients.key(case.patient) in patients.validation]
    if not (train and validation):
        raise DataError(
            f"{len(train)} corrected cases are there to train on and {len(validation)} to validate on.",
            rule="Both are needed, of different patients, or nobody knows whether the training made the model worse.",
            remedy="Correct cases of more patients.",
        )
    return train, validation


def _trained(
    served: Bundle,
    start: Path,
    cases: tuple[Seq[Corrected], Seq[Corrected]],
    settings: Settings,
    work: Path,
    report: Report,
) -> Path:
    """The weights of both stages, trained one after the other."""
    train, validation = cases
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
    for number, part in enumerate(_PARTS):
        patch, batch = SLICES if sees_several_planes(network.get_submodule(part)) else (settings.patch, 1)
        with _reporting(report, part, number * settings.iterations):
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


@contextmanager
def _reporting(report: Report, part: str, before: int) -> Iterator[None]:
    """Report the optimizer's number of steps after each; a training that is taken up again does not begin at 0."""

    def after(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        state: dict[str, Any] = next(iter(optimizer.state.values()), {})
        report(before + int(state.get("step", 0)), part)

    hook = register_optimizer_step_post_hook(after)
    try:
        yield
    finally:
        hook.remove()


def _digest(parent: int, served: Bundle, train: Seq[Corrected], validation: Seq[Corrected], settings: Settings) -> str:
    """The identity of a training: another one with the same digest goes on where it stopped."""

    def hashes(cases: Seq[Corrected]) -> list[str]:
        return [hashlib.sha256(case.image.read_bytes() + case.labels.read_bytes()).hexdigest() for case in cases]

    identity = [parent, served.weights_sha256, hashes(train), hashes(validation), settings.model_dump()]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
