"""Make the bundles of the x4 super-resolution methods from their recipes, training runs and scores.

One template, scripts/templates/sr_x4, serves all methods. Repeating it changes nothing; a newer version keeps the
changelog of those before it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import inspect
import json
import math
import re
import shutil
import sys
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch
import yaml
from monai.bundle import ConfigParser
from torch import nn

from acuity import __version__
from acuity.commands.train import RECIPES, pixel_stage_name
from acuity.errors import AcuityError, DataError
from acuity.evaluation.bootstrap import paired_difference
from acuity.evaluation.comparison_methods import BASELINE
from acuity.evaluation.comparison_table import Scores, by_method, case_differences
from acuity.networks.recipe_file import recipe_names
from acuity.training.loop import BEST, CHECKPOINT
from acuity.training.recipe import Recipe, read_recipe
from acuity.training.super_resolution import INTERPOLATED, SETTINGS

REPOSITORY = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).with_name("templates") / "sr_x4"
DATA_LICENSE = REPOSITORY / "bundles" / "brain_mri_super_resolution" / "LICENSE"  # all were trained on the same data
PREFIX = "brain_mri_sr_x4_"
LARGEST = 12_000_000  # bytes of a file of weights
# Licences of published weights by their format: what was trained from them must carry their text.
WEIGHTS_LICENSES = {"SRGAN with tanh": "LICENSE-SRGAN", "SRResCGAN or SRResCycGAN": "LICENSE-SRResCGAN"}
METRICS = {"psnr": ("PSNR in dB", 2), "ssim": ("SSIM", 4), "perceptual": ("perceptual distance", 4)}
DATASETS = ("brain", "knee")  # folders of scores
RECORDED = ("stage", "iterations", "batch", "patch", "processes", "seed", "ema", "initial_weights", "torch")
NOT_MEASURED = "Not yet measured."

Config = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A recipe's file.

    Parameters
    ----------
    name : of the file
    title : as its authors write it
    citation : of the paper, without the last full stop
    notes : the sentences after it
    content : arguments of ``acuity.training.recipe.Recipe`` in the compact size, as a bundle's config has them
    """

    name: str
    title: str
    citation: str
    notes: str
    content: Config


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
        return sha256_of(self.weights)

    @property
    def start(self) -> Config | None:
        """What is recorded of the weights that training started from."""
        start: Config | None = self.rounds[0]["initial_weights"]
        return start

    @property
    def weights_license(self) -> str | None:
        """Name of the licence of the weights that training started from.

        Raises
        ------
        DataError : they are of a format whose licence is not known
        """
        start = self.start
        if start is None:
            return None
        if start["format"] not in WEIGHTS_LICENSES:
            raise DataError(
                f"The training started from {start['file']}, in the format of {start['format']}.",
                rule=f"Licences are at hand for {' and '.join(WEIGHTS_LICENSES)}.",
                remedy=f"Add the licence of these weights to {TEMPLATE.relative_to(REPOSITORY)} and to this script.",
            )
        return WEIGHTS_LICENSES[start["format"]]


def sha256_of(file: Path) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def read_method(path: Path) -> Method:
    """A recipe's file: the citation from the comment on its top, the recipe for a bundle.

    Raises
    ------
    DataError : the comment is not "TITLE: CITATION (arXiv:NUMBER). NOTES"
    """
    text = path.read_text()
    lines = re.match(r"(#.*\n)*", text)
    assert lines is not None
    comment = " ".join(line.removeprefix("#").strip() for line in lines[0].splitlines())
    match = re.fullmatch(r"([^:]+): (.+?\(arXiv:[\d.]+\))\. ?(.*)", comment)
    if match is None:
        raise DataError(
            f"The recipe {path.stem} begins with {comment[:60]!r}.",
            rule="Its first lines are a comment: TITLE: AUTHORS, PAPER (arXiv:NUMBER). NOTES",
            remedy="Cite the paper as the other recipes do.",
        )
    title, citation, notes = match.groups()
    return Method(path.stem, title, citation, notes, compact(yaml.safe_load(text)["recipe"]))


def compact(item: Any) -> Any:
    """A part of a recipe with what depends on the size evaluated for the compact one; other references stay."""
    if isinstance(item, dict):
        return {key: compact(value) for key, value in item.items()}
    if isinstance(item, list):
        return [compact(value) for value in item]
    if isinstance(item, str) and "@compact" in item:
        return ConfigParser({"compact": True, "value": item}).get_parsed_content("value")
    return item


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
    adversarial, weights = _settings(runs / method, "adversarial"), _file(runs / method / INTERPOLATED)
    rounds = _pixel_rounds(runs / stage, [folder / stage for folder in earlier])
    for pixel, key in product(rounds, ("batch", "patch", "processes", "seed", "ema")):
        if pixel[key] != adversarial[key]:
            raise _unfit(f"The stages of {method} differ in {key}: {pixel[key]} and {adversarial[key]}.",
                         "All share their settings but the iterations.")
    start = adversarial["initial_weights"]
    if start is not None and start["sha256"] != sha256_of(_file(runs / stage / BEST)):
        raise _unfit(f"{method} was trained from other weights than {runs / stage / BEST} holds now.",
                     "The second stage starts from the result of the first.")  # fmt: skip
    if weights.stat().st_size > LARGEST:
        raise _unfit(f"{weights} has {weights.stat().st_size} bytes.", f"A bundle's weights have at most {LARGEST}.")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    if any(value.is_floating_point() and value.dtype != torch.float32 for value in state.values()):
        raise _unfit(f"{weights} holds other numbers than float32.", "Weights are released in float32.")
    try:
        recipe.generator.load_state_dict(state)
    except RuntimeError as error:
        raise _unfit(f"{weights} does not fit the generator of {method}.",
                     "A bundle's network is the recipe's in its compact size.") from error  # fmt: skip
    return Training(rounds, adversarial, weights)


def _pixel_rounds(folder: Path, earlier: Seq[Path]) -> tuple[Config, ...]:
    """Settings of a pixel stage, after those of the stage from whose result it went on, if that is in ``earlier``."""
    settings = _settings(folder, "pixel")
    start = settings["initial_weights"]
    for candidate in earlier:
        if start is not None and (candidate / BEST).is_file() and sha256_of(candidate / BEST) == start["sha256"]:
            rest = [other for other in earlier if other != candidate]
            return (*_pixel_rounds(candidate, rest), settings)
    return (settings,)


def _settings(folder: Path, stage: str) -> Config:
    settings: Config = json.loads(_file(folder / SETTINGS).read_text())
    recorded = (*RECORDED, "adversarial_share") if stage == "adversarial" else RECORDED
    absent = [key for key in recorded if key not in settings]
    if absent:
        raise DataError(
            f"{folder / SETTINGS} lacks {', '.join(absent)}.",
            rule="A release says how it was trained, and which published weights it started from, for their licence.",
            remedy='Add them, such as "initial_weights": null or {"file": ..., "format": ..., "sha256": ...}, or train '
            "again: `acuity train sr` records them.",
        )
    checkpoint = folder / CHECKPOINT
    done = settings["iterations"]
    if checkpoint.is_file():
        done = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["iteration"]
    if settings["stage"] != stage or done != settings["iterations"]:
        raise _unfit(f"{folder} holds {done} of {settings['iterations']} iterations of stage {settings['stage']}.",
                     f"A release needs the whole {stage} stage.")  # fmt: skip
    return settings


def _file(path: Path) -> Path:
    if not path.is_file():
        raise _unfit(f"There is no {path}.", "A release needs settings.json and weights of both stages.")
    return path


def _unfit(found: str, rule: str) -> DataError:
    return DataError(found, rule=rule, remedy="Train the method with `acuity train sr`, or name the folder of its run.")


def inference_config(method: Method) -> Config:
    """configs/inference.json."""
    return _template("inference") | {"network_def": method.content["generator"]}


def train_config(method: Method, training: Training) -> Config:
    """configs/train.json: both stages, as `acuity train sr` has them."""
    config = _template("train")
    config["recipe"] = method.content | {"generator": "@network_def"}
    config["network_def"] = method.content["generator"]
    settings = training.adversarial
    config |= {key: settings[key] for key in ("seed", "batch", "patch")}
    config["pixel"] |= {"iterations": sum(item["iterations"] for item in training.rounds), "ema": settings["ema"]}
    config["adversarial"] |= {"iterations": settings["iterations"], "ema": settings["ema"]}
    if training.start is None:
        del config["weights_dir"]
    else:
        config["initial_weights"] = f"$os.path.join(@weights_dir, {training.start['file']!r})"
    if "ranker" not in method.content:
        del config["ranker"], config["ranker_weights"]
    return config


def evaluate_config(method: Method) -> Config:
    """configs/evaluate.json."""
    return _template("evaluate") | {"method": method.name}


def metadata(method: Method, training: Training, version: str, changelog: Config) -> Config:
    """configs/metadata.json; ``changelog`` is that of the versions before."""
    config = _template("metadata")
    before = {number: text for number, text in changelog.items() if number != version}
    budget = f"{_iterations(*training.rounds, training.adversarial)} iterations"
    config |= {
        "version": version,
        "changelog": before | {version: f"weights of {budget} on the fine-grained BraTS training cases"},
        "name": f"Brain MRI super-resolution x4: {method.title}",
        "description": f"The generator of {method.title} (one channel), trained adversarially on MRI. It gives a slice "
        "four times the rows and columns; the detail it adds is estimated and may be invented.",
    }
    config["required_packages_version"]["acuity-mr"] = __version__
    config["references"].append(method.citation)
    return config


def card(method: Method, training: Training, recipe: Recipe, version: str, figures: str) -> str:
    """docs/README.md."""
    settings, start, license_name = training.adversarial, training.start, training.weights_license
    target, sizes = method.content["generator"]["_target_"], dict(method.content["generator"])
    del sizes["_target_"]
    begun = "random weights, begun as interpolation where the network can be (`acuity.networks.interpolation`)"
    needs = licence = ""
    if start is not None:
        begun = (f"the published weights `{start['file']}` (natural images; format: {start['format']}; SHA-256 "
                 f"`{start['sha256']}`), folded to one channel where they had three")  # fmt: skip
        needs += f" Training starts from `{start['file']}` in `$ACUITY_DATA/weights`, or `--initial_weights FILE`."
        licence += f" The weights that training started from are under the MIT licence: see `{license_name}`."
    if recipe.ranker is not None:
        needs += " Training needs the ranker's weights, of `acuity train ranker`: `--ranker_weights FILE`."
    rounds = "" if len(training.rounds) == 1 else (
        f" The pixel stage was trained in {len(training.rounds)} rounds, each from the weights of the one before and "
        "with its rate falling along half a cosine; `configs/train.json` has their iterations in one.")  # fmt: skip
    weights = {name.replace("_", " "): weight for name, weight in vars(recipe.weights).items() if weight}
    return Template((TEMPLATE / "docs" / "README.md").read_text()).substitute(
        title=method.title, method=method.name, bundle=PREFIX + method.name, version=version,
        citation=method.citation, notes=method.notes, figures=figures, start=begun, needs=needs, licence=licence,
        network=target, size="".join(f", {key} {value}" for key, value in sizes.items()),
        parameters=f"{sum(p.numel() for p in recipe.generator.parameters()):,}",
        degradation=" ".join(str(inspect.getdoc(recipe.degradation)).replace("``", "`").split()),
        losses=", ".join(f"{name} {weight:g}" for name, weight in weights.items()),
        gan=recipe.adversarial.replace("_", " "), perceptual=settings["perceptual"] or "none",
        pixel_iterations=_iterations(*training.rounds), adversarial_iterations=settings["iterations"], rounds=rounds,
        share=f"{settings['adversarial_share']:g}", rest=f"{1 - settings['adversarial_share']:g}",
        pixel_rate=f"{recipe.pixel_learning_rate:g}", rate=f"{recipe.learning_rate:g}", patch=settings["patch"],
        batch=settings["batch"] * settings["processes"], ema=settings["ema"], seed=settings["seed"],
        torch=settings["torch"],
    )  # fmt: skip


def _iterations(*stages: Config) -> str:
    return " + ".join(str(settings["iterations"]) for settings in stages)


def read_figures(scores: Path | None, method: str, sha256: str) -> str:
    """Markdown: the method beside bicubic interpolation, of each of DATASETS whose scores are there.

    Parameters
    ----------
    scores : folder of results of ``acuity evaluate sr``, one folder for each of DATASETS
    sha256 : of the weights that the scores must be of

    Raises
    ------
    DataError : the scores lack the method, or are of other weights
    """
    folders = [scores / name for name in DATASETS if (scores / name / "scores.csv").is_file()] if scores else []
    if not folders:
        return NOT_MEASURED
    names = [name for name, _ in METRICS.values()]
    lines = [f"| data | method | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    sentences = []
    for folder in folders:
        with (folder / "scores.csv").open(newline="") as file:
            rows = [{k: v or "nan" if k in METRICS else v for k, v in row.items()} for row in csv.DictReader(file)]
        measured = by_method(rows)
        settings = json.loads((folder / SETTINGS).read_text())
        found = {item["name"]: item.get("sha256") for item in settings["methods"]}
        if method not in measured or found.get(method) != sha256:
            raise DataError(
                f"{folder} has scores of {method} with the weights {found.get(method)}, not {sha256}.",
                rule="A bundle states what was measured with its own weights.",
                remedy="Release without --scores, run `acuity evaluate sr` on the bundles, and release again.",
            )
        for name in (BASELINE, method):
            means = [_mean(measured, name, metric) for metric in METRICS]
            lines.append(f"| {folder.name} | {name} | {' | '.join(means)} |")
        cases = len(settings["data"]["cases"])
        sentences.append(
            f"{folder.name.capitalize()}: {settings['data']['slices']} slices of {_count(cases, 'case')}, made coarse "
            f"by {settings['degradation']['name']} shrinking; difference to {BASELINE} (mean over the cases and its "
            f"95 % interval): {', '.join(_difference(measured, method, metric) for metric in METRICS)}."
        )
    definition = ("Means over slices; the data range is the 99.9th percentile of a volume's positive values; of the "
                  "perceptual distance less is better.")  # fmt: skip
    return "\n".join([*lines, "", definition, *sentences])


def _mean(scores: Scores, method: str, metric: str) -> str:
    values = [value for row in scores[method].values() if math.isfinite(value := float(row[metric]))]
    return f"{np.mean(values):.{METRICS[metric][1]}f}" if values else "not available"


def _difference(scores: Scores, method: str, metric: str) -> str:
    name, digits = METRICS[metric]
    values = case_differences(scores, method, BASELINE, metric)
    if not values:
        return f"{name} not available"
    found = paired_difference(values)
    interval = "" if math.isnan(found.low) else f" ({found.low:+.{digits}f} to {found.high:+.{digits}f})"
    return f"{name} {found.mean:+.{digits}f}{interval}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def release(
    name: str, *, runs: Path, scores: Path | None, bundles: Path, version: str, recipes: Path = RECIPES,
    earlier: Seq[Path] = (),
) -> Path:
    """Make or remake the bundle of a method; all is checked before anything is written.

    Parameters
    ----------
    name : of a recipe in ``recipes``
    runs : output of ``acuity train sr``
    scores : see ``read_figures``; None where nothing was measured
    bundles : folder of the bundles
    version : of this release, MAJOR.MINOR.PATCH
    earlier : see ``read_training``

    Returns
    -------
    The bundle's folder.

    Raises
    ------
    DataError : see ``read_method``, ``read_training``, ``Training.weights_license`` and ``read_figures``
    """
    path = recipes / f"{name}.yaml"
    settings = runs / name / SETTINGS
    # Discriminators know the patches' size; the ranker judges none here.
    patch = json.loads(_file(settings).read_text()).get("patch", 96)
    recipe = read_recipe(path, compact=True, patch=patch, ranker=nn.Identity())
    method = read_method(path)
    training = read_training(runs, name, recipe, earlier)
    folder = bundles / (PREFIX + name)
    old = folder / "configs" / "metadata.json"
    changelog = json.loads(old.read_text())["changelog"] if old.is_file() else {}
    configs = {
        "inference": inference_config(method), "train": train_config(method, training),
        "evaluate": evaluate_config(method), "metadata": metadata(method, training, version, changelog),
    }  # fmt: skip
    text = card(method, training, recipe, version, read_figures(scores, name, training.sha256))

    for part in ("configs", "models", "docs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for config, content in configs.items():
        written = json.dumps(content, indent=4, ensure_ascii=False) + "\n"
        (folder / "configs" / f"{config}.json").write_text(written, encoding="utf-8")
    (folder / "docs" / "README.md").write_text(text, encoding="utf-8")
    shutil.copyfile(training.weights, folder / "models" / "model.pt")
    shutil.copyfile(DATA_LICENSE, folder / "LICENSE")
    for license_name in WEIGHTS_LICENSES.values():
        if license_name == training.weights_license:
            shutil.copyfile(TEMPLATE / license_name, folder / license_name)
        else:
            (folder / license_name).unlink(missing_ok=True)
    return folder


def _template(name: str) -> Config:
    config: Config = json.loads((TEMPLATE / "configs" / f"{name}.json").read_text())
    return config


def _version(text: str) -> str:
    if re.fullmatch(r"\d+\.\d+\.\d+", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not MAJOR.MINOR.PATCH")
    return text


def main(arguments: Seq[str] | None = None) -> int:
    """Read the command line and release; the exit code is 0, or the error's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, metavar="FOLDER", help="output of `acuity train sr`")
    parser.add_argument("--earlier", type=Path, nargs="+", default=[], metavar="FOLDER",
                        help="outputs from whose pixel stages those of --runs went on")
    parser.add_argument("--scores", type=Path, metavar="FOLDER",
                        help=f"of {' and '.join(DATASETS)}, each an output of `acuity evaluate sr`")
    parser.add_argument("--bundles", type=Path, required=True, metavar="FOLDER", help="where the bundles are")
    parser.add_argument("--version", type=_version, required=True, help="of the release, such as 0.1.0")
    parser.add_argument("--method", action="append", metavar="NAME", help="may be repeated (default: all recipes)")
    parser.add_argument("--recipes", type=Path, default=RECIPES, metavar="FOLDER", help="of recipes, instead of ours")
    options = parser.parse_args(arguments)
    try:
        for name in options.method or recipe_names(options.recipes):
            print(release(name, runs=options.runs, scores=options.scores, bundles=options.bundles,
                          version=options.version, recipes=options.recipes, earlier=options.earlier))  # fmt: skip
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
