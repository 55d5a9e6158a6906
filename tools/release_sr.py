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
from itertools import takewhile
from pathlib import Path
from string import Template
from typing import Any

import yaml
from monai.bundle import ConfigParser
from torch import nn

from acuity import __version__
from acuity.commands.train_super_resolution import RECIPES
from acuity.errors import AcuityError, DataError
from acuity.research.recipe_file import recipe_names
from acuity.research.training.super_resolution_recipe import Recipe, read_recipe
from acuity.resources import file_sha256
from tools.sr_figures import DATASETS, read_figures
from tools.sr_training import WEIGHTS_LICENSES, Config, Training, read_settings, read_training

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
    content : arguments of ``Recipe`` in the compact size, as a bundle's config has them
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
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = " ".join(line.removeprefix("#").strip() for line in lines)
    match = re.fullmatch(r"([^:]+): (.+?\(arXiv:[\d.]+\))\. ?(.*)", comment)
    if match is None:
        raise DataError(
            f"The recipe {path.stem} begins with {comment[:60]!r}.",
            rule="Its first lines are a comment: TITLE: AUTHORS, PAPER (arXiv:NUMBER). NOTES",
            remedy="Cite the paper as the other recipes do.",
        )
    return Method(path.stem, match[1], match[2], match[3], compact(yaml.safe_load(text)["recipe"]))


def compact(item: Any) -> Any:
    """A part of a recipe in the compact size: expressions of ``@compact`` are evaluated, other references stay."""
    if isinstance(item, dict):
        return {key: compact(value) for key, value in item.items()}
    if isinstance(item, list):
        return [compact(value) for value in item]
    if isinstance(item, str) and "@compact" in item:
        return ConfigParser({"compact": True, "value": item}).get_parsed_content("value")
    return item


def make_configs(method: Method, training: Training, version: str, changelog: Config) -> dict[str, Config]:
    """The four configs by name; ``changelog`` is that of the versions before."""
    configs: dict[str, Config] = {
        file.stem: json.loads(file.read_text()) for file in (TEMPLATE / "configs").glob("*.json")
    }
    network = method.content["generator"]
    configs["inference"]["network_def"] = network
    configs["evaluate"]["method"] = method.name

    train, settings = configs["train"], training.adversarial
    train |= {"network_def": network, "recipe": method.content | {"generator": "@network_def"}}
    train |= {"seed": settings["seed"], "batch_size": settings["batch"], "patch": settings["patch"]}
    iterations = {"pixel": sum(item["iterations"] for item in training.rounds), "adversarial": settings["iterations"]}
    train["iterations"] = max(iterations.values())
    for stage, count in iterations.items():
        train[f"{stage}_iterations"] = count
        train[stage]["plan"]["ema"] = settings["ema"]
    if training.start is None:
        del train["weights_dir"]
    else:
        train["initial_weights"] = f"$os.path.join(@weights_dir, {training.start['file']!r})"
    if "ranker" not in method.content:
        del train["ranker"], train["ranker_weights"], train["stages"][0]

    metadata = configs["metadata"]
    budget = f"{training.pixel_iterations} + {settings['iterations']} iterations"
    news = {version: f"weights of {budget} on the fine-grained BraTS training cases"}
    metadata |= {
        "version": version,
        "changelog": {number: text for number, text in changelog.items() if number != version} | news,
        "name": f"Brain MRI super-resolution x4: {method.title}",
        "description": f"The generator of {method.title} (one channel), trained adversarially on MRI. It gives a slice "
        "four times the rows and columns; the detail it adds is estimated and may be invented.",
    }
    metadata["required_packages_version"]["acuity-mr"] = __version__
    metadata["references"].append(method.citation)
    return configs


def make_card(method: Method, training: Training, recipe: Recipe, version: str, figures: str) -> str:
    """docs/README.md."""
    settings = training.adversarial
    sizes = [f", {name} {value}" for name, value in method.content["generator"].items() if name != "_target_"]
    weights = [f"{name.replace('_', ' ')} {weight:g}" for name, weight in vars(recipe.weights).items() if weight]
    places = {
        "title": method.title,
        "method": method.name,
        "bundle": PREFIX + method.name,
        "version": version,
        "citation": method.citation,
        "notes": method.notes,
        "figures": figures,
        "start": "random weights, begun as interpolation where the network can be (`acuity.networks.initialization`)",
        "needs": "",
        "license": "",
        "network": method.content["generator"]["_target_"],
        "size": "".join(sizes),
        "parameters": f"{sum(p.numel() for p in recipe.generator.parameters()):,}",
        "degradation": " ".join(str(inspect.getdoc(recipe.degradation)).replace("``", "`").split()),
        "losses": ", ".join(weights),
        "gan": recipe.adversarial.replace("_", " "),
        "perceptual": settings["perceptual"] or "none",
        "pixel_iterations": training.pixel_iterations,
        "adversarial_iterations": settings["iterations"],
        "rounds": "",
        "share": f"{settings['adversarial_share']:g}",
        "rest": f"{1 - settings['adversarial_share']:g}",
        "pixel_rate": f"{recipe.pixel_learning_rate:g}",
        "rate": f"{recipe.learning_rate:g}",
        "batch": settings["batch"] * settings["processes"],
        **{key: settings[key] for key in ("patch", "ema", "seed", "torch")},
    }
    if (start := training.start) is not None:
        places["start"] = (
            f"the published weights `{start['file']}` (natural images; format: {start['format']}; SHA-256 "
            f"`{start['sha256']}`), folded to one channel where they had three"
        )
        places["needs"] = (
            f" Training starts from `{start['file']}` in `$ACUITY_DATA/weights`, or `--initial_weights FILE`."
        )
        places["license"] = (
            f" The weights that training started from are under the MIT license: see `{training.weights_license}`."
        )
    if recipe.ranker is not None:
        places["needs"] += " Training needs the ranker's weights, of `acuity train ranker`: `--ranker_weights FILE`."
    if len(training.rounds) > 1:
        places["rounds"] = (
            f" The pixel stage was trained in {len(training.rounds)} rounds, each from the weights of the one before "
            "and with its rate falling along half a cosine; `configs/train.json` has their iterations in one."
        )
    return Template((TEMPLATE / "docs" / "README.md").read_text()).substitute(places)


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
    DataError : see ``read_method``, ``read_training`` and ``read_figures``
    """
    path = recipes / f"{name}.yaml"
    patch = read_settings(runs / name, "adversarial")["patch"]  # discriminators know it; the ranker judges none here
    recipe = read_recipe(path, compact=True, patch=patch, ranker=nn.Identity())
    method = read_method(path)
    training = read_training(runs, name, recipe, earlier)
    folder = bundles / (PREFIX + name)
    old = folder / "configs" / "metadata.json"
    changelog = json.loads(old.read_text())["changelog"] if old.is_file() else {}
    figures = read_figures(scores, name, file_sha256(training.weights))
    texts = {"docs/README.md": make_card(method, training, recipe, version, figures)}
    for config, content in make_configs(method, training, version, changelog).items():
        texts[f"configs/{config}.json"] = json.dumps(content, indent=4, ensure_ascii=False) + "\n"

    for file, text in texts.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    (folder / "models").mkdir(exist_ok=True)
    shutil.copyfile(training.weights, folder / "models" / "model.pt")
    shutil.copyfile(DATA_LICENSE, folder / "LICENSE")
    for license_name in WEIGHTS_LICENSES.values():
        (folder / license_name).unlink(missing_ok=True)
    if training.weights_license is not None:
        shutil.copyfile(TEMPLATE / training.weights_license, folder / training.weights_license)
    return folder


def _version(text: str) -> str:
    if re.fullmatch(r"\d+\.\d+\.\d+", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not MAJOR.MINOR.PATCH")
    return text


def main(arguments: Seq[str] | None = None) -> int:
    """Read the command line and release; the exit code is 0, or the error's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--runs", type=Path, required=True, metavar="FOLDER", help="output of `acuity train sr`")
    add("--earlier", type=Path, nargs="+", default=[], metavar="FOLDER", help="runs that those of --runs started from")
    add("--scores", type=Path, metavar="FOLDER", help=f"{', '.join(DATASETS)}: outputs of `acuity evaluate sr`")
    add("--bundles", type=Path, required=True, metavar="FOLDER", help="where the bundles are")
    add("--version", type=_version, required=True, help="of the release, such as 0.1.0")
    add("--method", action="append", metavar="NAME", help="may be repeated (default: all recipes)")
    add("--recipes", type=Path, default=RECIPES, metavar="FOLDER", help="of recipes, instead of ours")
    options = vars(parser.parse_args(arguments))
    try:
        for name in options.pop("method") or recipe_names(options["recipes"]):
            print(release(name, **options))
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
