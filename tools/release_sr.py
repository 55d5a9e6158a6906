"""Make the bundles of the x4 super-resolution methods from their recipes, training runs and scores.

One template, tools/templates/sr_x4, serves all methods. Repeating it changes nothing; a newer version keeps the
changelog of those before it.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import shutil
import sys
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml
from monai.bundle import ConfigParser
from torch import nn

from acuity import __version__
from acuity.commands.train_super_resolution import RECIPES
from acuity.errors import AcuityError, DataError
from acuity.research.training.loop import SETTINGS
from acuity.research.training.recipe_file import recipe_names
from acuity.research.training.super_resolution_recipe import Recipe, read_recipe
from tools.sr_figures import DATASETS, read_figures
from tools.sr_training import WEIGHTS_LICENSES, Config, Training, read_training, required_file

REPOSITORY = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).with_name("templates") / "sr_x4"
DATA_LICENSE = REPOSITORY / "bundles" / "brain_mri_super_resolution" / "LICENSE"  # all were trained on the same data
PREFIX = "brain_mri_sr_x4_"


@dataclass(frozen=True)
class Method:
    """A recipe's file.

    Parameters
    ----------
    name : of the file
    title : as its authors write it
    citation : of the paper, without the last full stop
    notes : the sentences after it
    content : arguments of ``acuity.research.training.super_resolution_recipe.Recipe`` in the compact size, as a bundle's config has them
    """

    name: str
    title: str
    citation: str
    notes: str
    content: Config


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
    iterations = {"pixel": sum(item["iterations"] for item in training.rounds), "adversarial": settings["iterations"]}
    for stage, count in iterations.items():
        config[stage]["plan"] |= {"iterations": count, "ema": settings["ema"]}
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
    begun = "random weights, begun as interpolation where the network can be (`acuity.networks.initialization`)"
    needs = license = ""
    if start is not None:
        begun = (
            f"the published weights `{start['file']}` (natural images; format: {start['format']}; SHA-256 "
            f"`{start['sha256']}`), folded to one channel where they had three"
        )
        needs += f" Training starts from `{start['file']}` in `$ACUITY_DATA/weights`, or `--initial_weights FILE`."
        license += f" The weights that training started from are under the MIT license: see `{license_name}`."
    if recipe.ranker is not None:
        needs += " Training needs the ranker's weights, of `acuity train ranker`: `--ranker_weights FILE`."
    rounds = (
        ""
        if len(training.rounds) == 1
        else (
            f" The pixel stage was trained in {len(training.rounds)} rounds, each from the weights of the one before and "
            "with its rate falling along half a cosine; `configs/train.json` has their iterations in one."
        )
    )
    weights = {name.replace("_", " "): weight for name, weight in vars(recipe.weights).items() if weight}
    return Template((TEMPLATE / "docs" / "README.md").read_text()).substitute(
        title=method.title,
        method=method.name,
        bundle=PREFIX + method.name,
        version=version,
        citation=method.citation,
        notes=method.notes,
        figures=figures,
        start=begun,
        needs=needs,
        license=license,
        network=target,
        size="".join(f", {key} {value}" for key, value in sizes.items()),
        parameters=f"{sum(p.numel() for p in recipe.generator.parameters()):,}",
        degradation=" ".join(str(inspect.getdoc(recipe.degradation)).replace("``", "`").split()),
        losses=", ".join(f"{name} {weight:g}" for name, weight in weights.items()),
        gan=recipe.adversarial.replace("_", " "),
        perceptual=settings["perceptual"] or "none",
        pixel_iterations=_iterations(*training.rounds),
        adversarial_iterations=settings["iterations"],
        rounds=rounds,
        share=f"{settings['adversarial_share']:g}",
        rest=f"{1 - settings['adversarial_share']:g}",
        pixel_rate=f"{recipe.pixel_learning_rate:g}",
        rate=f"{recipe.learning_rate:g}",
        patch=settings["patch"],
        batch=settings["batch"] * settings["processes"],
        ema=settings["ema"],
        seed=settings["seed"],
        torch=settings["torch"],
    )


def _iterations(*stages: Config) -> str:
    return " + ".join(str(settings["iterations"]) for settings in stages)


def release(
    name: str,
    *,
    runs: Path,
    scores: Path | None,
    bundles: Path,
    version: str,
    recipes: Path = RECIPES,
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
    patch = json.loads(required_file(settings).read_text()).get("patch", 96)
    recipe = read_recipe(path, compact=True, patch=patch, ranker=nn.Identity())
    method = read_method(path)
    training = read_training(runs, name, recipe, earlier)
    folder = bundles / (PREFIX + name)
    old = folder / "configs" / "metadata.json"
    changelog = json.loads(old.read_text())["changelog"] if old.is_file() else {}
    configs = {
        "inference": inference_config(method),
        "train": train_config(method, training),
        "evaluate": evaluate_config(method),
        "metadata": metadata(method, training, version, changelog),
    }
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
    parser.add_argument(
        "--earlier",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="outputs from whose pixel stages those of --runs went on",
    )
    parser.add_argument(
        "--scores",
        type=Path,
        metavar="FOLDER",
        help=f"of {' and '.join(DATASETS)}, each an output of `acuity evaluate sr`",
    )
    parser.add_argument("--bundles", type=Path, required=True, metavar="FOLDER", help="where the bundles are")
    parser.add_argument("--version", type=_version, required=True, help="of the release, such as 0.1.0")
    parser.add_argument("--method", action="append", metavar="NAME", help="may be repeated (default: all recipes)")
    parser.add_argument("--recipes", type=Path, default=RECIPES, metavar="FOLDER", help="of recipes, instead of ours")
    options = parser.parse_args(arguments)
    try:
        for name in options.method or recipe_names(options.recipes):
            print(
                release(
                    name,
                    runs=options.runs,
                    scores=options.scores,
                    bundles=options.bundles,
                    version=options.version,
                    recipes=options.recipes,
                    earlier=options.earlier,
                )
            )
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
