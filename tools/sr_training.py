"""What the trainings of ``acuity train sr`` left, checked for a release."""

from __future__ import annotations

import json
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from acuity.commands.train_super_resolution import pixel_stage_name
from acuity.errors import DataError
from acuity.research.training.loop import BEST, CHECKPOINT, SETTINGS
from acuity.research.training.super_resolution import INTERPOLATED
from acuity.research.training.super_resolution_recipe import Recipe
from acuity.resources import file_sha256

LARGEST = 12_000_000  # bytes of a file of weights
# Licenses of published weights by their format: what was trained from them must carry their text.
WEIGHTS_LICENSES = {"SRGAN with tanh": "LICENSE-SRGAN", "SRResCGAN or SRResCycGAN": "LICENSE-SRResCGAN"}
RECORDED = ("stage", "iterations", "batch", "patch", "processes", "seed", "ema", "initial_weights", "torch")

Config = dict[str, Any]


@dataclass(frozen=True)
class Training:
    """What both stages left.

    Parameters
    ----------
    rounds : settings.json of the pixel stage, first that of the round which started from no weights of ours
    adversarial : settings.json of the adversarial stage
    weights : the file to release
    """

    rounds: tuple[Config, ...]
    adversarial: Config
    weights: Path

    @property
    def sha256(self) -> str:
        """Of the file of weights."""
        return file_sha256(self.weights)

    @property
    def start(self) -> Config | None:
        """What is recorded of the weights that training started from."""
        start: Config | None = self.rounds[0]["initial_weights"]
        return start

    @property
    def weights_license(self) -> str | None:
        """Name of the license of the weights that training started from.

        Raises
        ------
        DataError : they are of a format whose license is not known
        """
        start = self.start
        if start is None:
            return None
        if start["format"] not in WEIGHTS_LICENSES:
            raise DataError(
                f"The training started from {start['file']}, in the format of {start['format']}.",
                rule=f"Licenses are at hand for {' and '.join(WEIGHTS_LICENSES)}.",
                remedy="Add the license of these weights to tools/templates/sr_x4 and to WEIGHTS_LICENSES.",
            )
        return WEIGHTS_LICENSES[start["format"]]


def read_training(runs: Path, method: str, recipe: Recipe, earlier: Seq[Path] = ()) -> Training:
    """The settings of both stages of a method, whose weights are those of ``recipe.generator``; it gets them.

    Parameters
    ----------
    earlier : runs from whose pixel stages those of ``runs`` went on, in any order

    Raises
    ------
    DataError : a file is absent, a training has not ended, the stages do not belong together, or the weights do not
        fit or are too large
    """
    stage = pixel_stage_name(recipe)
    adversarial, weights = _settings(runs / method, "adversarial"), required_file(runs / method / INTERPOLATED)
    rounds = _pixel_rounds(runs / stage, [folder / stage for folder in earlier])
    for pixel, key in product(rounds, ("batch", "patch", "processes", "seed", "ema")):
        if pixel[key] != adversarial[key]:
            raise _unfit(
                f"The stages of {method} differ in {key}: {pixel[key]} and {adversarial[key]}.",
                "All share their settings but the iterations.",
            )
    start = adversarial["initial_weights"]
    if start is not None and start["sha256"] != file_sha256(required_file(runs / stage / BEST)):
        raise _unfit(
            f"{method} was trained from other weights than {runs / stage / BEST} holds now.",
            "The second stage starts from the result of the first.",
        )
    if weights.stat().st_size > LARGEST:
        raise _unfit(f"{weights} has {weights.stat().st_size} bytes.", f"A bundle's weights have at most {LARGEST}.")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    if any(value.is_floating_point() and value.dtype != torch.float32 for value in state.values()):
        raise _unfit(f"{weights} holds other numbers than float32.", "Weights are released in float32.")
    try:
        recipe.generator.load_state_dict(state)
    except RuntimeError as error:
        raise _unfit(
            f"{weights} does not fit the generator of {method}.",
            "A bundle's network is the recipe's in its compact size.",
        ) from error
    return Training(rounds, adversarial, weights)


def _pixel_rounds(folder: Path, earlier: Seq[Path]) -> tuple[Config, ...]:
    """Settings of a pixel stage, after those of the stage from whose result it went on, if that is in ``earlier``."""
    settings = _settings(folder, "pixel")
    start = settings["initial_weights"]
    for candidate in earlier:
        if start is not None and (candidate / BEST).is_file() and file_sha256(candidate / BEST) == start["sha256"]:
            rest = [other for other in earlier if other != candidate]
            return (*_pixel_rounds(candidate, rest), settings)
    return (settings,)


def _settings(folder: Path, stage: str) -> Config:
    settings: Config = json.loads(required_file(folder / SETTINGS).read_text())
    recorded = (*RECORDED, "adversarial_share") if stage == "adversarial" else RECORDED
    absent = [key for key in recorded if key not in settings]
    if absent:
        raise DataError(
            f"{folder / SETTINGS} lacks {', '.join(absent)}.",
            rule="A release says how it was trained, and which published weights it started from, for their license.",
            remedy='Add them, such as "initial_weights": null or {"file": ..., "format": ..., "sha256": ...}, or train '
            "again: `acuity train sr` records them.",
        )
    checkpoint = folder / CHECKPOINT
    done = settings["iterations"]
    if checkpoint.is_file():
        done = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["iteration"]
    if settings["stage"] != stage or done != settings["iterations"]:
        raise _unfit(
            f"{folder} holds {done} of {settings['iterations']} iterations of stage {settings['stage']}.",
            f"A release needs the whole {stage} stage.",
        )
    return settings


def required_file(path: Path) -> Path:
    """``path``, or DataError where there is no such file."""
    if not path.is_file():
        raise _unfit(f"There is no {path}.", "A release needs settings.json and weights of both stages.")
    return path


def _unfit(found: str, rule: str) -> DataError:
    return DataError(found, rule=rule, remedy="Train the method with `acuity train sr`, or name the folder of its run.")
