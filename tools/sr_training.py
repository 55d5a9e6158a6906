"""The runs of ``acuity train sr``, checked for a release."""

from __future__ import annotations

import json
from collections.abc import Sequence as Seq
from dataclasses import dataclass
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
SHARED = ("batch", "patch", "processes", "seed", "ema")  # settings that the stages have in common

Config = dict[str, Any]


@dataclass(frozen=True)
class Training:
    """The results of both stages.

    Parameters
    ----------
    rounds : settings.json of the pixel stage; the first is that of the round which started from no weights of ours
    adversarial : settings.json of the adversarial stage
    weights : the file to release
    weights_license : name of the license of the published weights that training started from, if it did
    """

    rounds: tuple[Config, ...]
    adversarial: Config
    weights: Path
    weights_license: str | None

    @property
    def start(self) -> Config | None:
        """The record of the published weights that training started from."""
        start: Config | None = self.rounds[0]["initial_weights"]
        return start

    @property
    def pixel_iterations(self) -> str:
        """Of all rounds, such as "2002 + 2002"."""
        return " + ".join(str(settings["iterations"]) for settings in self.rounds)


def read_training(runs: Path, method: str, recipe: Recipe, earlier: Seq[Path] = ()) -> Training:
    """The settings and weights of both stages of a method; ``recipe.generator`` gets the weights.

    Parameters
    ----------
    earlier : runs whose pixel stages those of ``runs`` started from, in any order

    Raises
    ------
    DataError : a file is absent, a training has not ended, the stages do not belong together, the weights do not fit
        or are too large, or the license of the weights that training started from is not known
    """
    pixel = runs / pixel_stage_name(recipe)
    adversarial, weights = read_settings(runs / method, "adversarial"), _required(runs / method / INTERPOLATED)
    rounds = [read_settings(pixel, "pixel")]
    before = {file_sha256(file): file.parent for run in earlier if (file := run / pixel.name / BEST).is_file()}
    while (start := rounds[0]["initial_weights"]) and start["sha256"] in before:
        rounds.insert(0, read_settings(before.pop(start["sha256"]), "pixel"))
    for key in SHARED:
        if (values := {settings[key] for settings in (*rounds, adversarial)}) != {adversarial[key]}:
            raise _unfit(f"The stages of {method} differ in {key}: {sorted(values)}.", "They share all settings.")
    continued = adversarial["initial_weights"]
    if continued is not None and continued["sha256"] != file_sha256(_required(pixel / BEST)):
        raise _unfit(
            f"{method} was trained from other weights than {pixel / BEST} holds now.",
            "The second stage starts from the result of the first.",
        )
    if start is not None and start["format"] not in WEIGHTS_LICENSES:
        raise _unfit(
            f"The training started from {start['file']}, in the format of {start['format']}.",
            f"tools/templates/sr_x4 has the licenses of {' and '.join(WEIGHTS_LICENSES)}; earlier runs need --earlier.",
        )
    _load(recipe, method, weights)
    return Training(tuple(rounds), adversarial, weights, start and WEIGHTS_LICENSES[start["format"]])


def _load(recipe: Recipe, method: str, weights: Path) -> None:
    if weights.stat().st_size > LARGEST:
        raise _unfit(f"{weights} has {weights.stat().st_size} bytes.", f"A bundle's weights have at most {LARGEST}.")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    if any(value.is_floating_point() and value.dtype != torch.float32 for value in state.values()):
        raise _unfit(f"{weights} holds other numbers than float32.", "Weights are released in float32.")
    try:
        recipe.generator.load_state_dict(state)
    except RuntimeError as error:
        rule = "A bundle's network is the recipe's in its compact size."
        raise _unfit(f"{weights} does not fit the generator of {method}.", rule) from error


def read_settings(folder: Path, stage: str) -> Config:
    """settings.json of a stage; DataError where it is absent, incomplete, or the stage has not ended."""
    settings: Config = json.loads(_required(folder / SETTINGS).read_text())
    recorded = {"stage", "iterations", *SHARED, "initial_weights", "torch", "perceptual", "adversarial_share"}
    if absent := sorted(recorded - settings.keys()):
        raise _unfit(
            f"{folder / SETTINGS} lacks {', '.join(absent)}.",
            "A release says how it was trained, and which published weights it started from, for their license.",
        )
    done = settings["iterations"]
    if (checkpoint := folder / CHECKPOINT).is_file():
        done = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["iteration"]
    if settings["stage"] != stage or done != settings["iterations"]:
        raise _unfit(
            f"{folder} holds {done} of {settings['iterations']} iterations of stage {settings['stage']}.",
            f"A release needs the whole {stage} stage.",
        )
    return settings


def _required(path: Path) -> Path:
    if not path.is_file():
        raise _unfit(f"There is no {path}.", "A release needs settings.json and weights of both stages.")
    return path


def _unfit(found: str, rule: str) -> DataError:
    return DataError(found, rule=rule, remedy="Train the method with `acuity train sr`, or name the folder of its run.")
