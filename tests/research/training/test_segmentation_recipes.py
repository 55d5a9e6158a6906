"""The segmentation recipes: they differ in what makes the method, and in nothing else; each one trains."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from acuity.errors import DataError
from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import prepare
from acuity.research.segmenters import load_segmenter
from acuity.research.synthetic.phantom import Phantom, make_phantom
from acuity.research.training.data import TrainingData
from acuity.research.training.loop import SETTINGS
from acuity.research.training.segmentation import Plan, train
from acuity.research.training.segmentation_recipe import Recipe, read_recipe
from acuity.resources import config_file
from acuity.volume import Volume

RECIPES = config_file("seg")
NETWORKS = ["dynunet", "efficientunet", "equiunet", "fcn16s", "fcn32s", "fcn8s", "segresnet", "unet2d"]


def recipe(name: str, *, compact: bool = True) -> Recipe:
    return read_recipe(RECIPES / f"{name}.yaml", compact=compact)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """Of 8 mm, but said to be of 1 mm: a tiny head, which segmenters leave as small as it is."""
    coarse = make_phantom(spacing_mm=8.0)
    volumes = {sequence: Volume(volume.array, np.eye(4)) for sequence, volume in coarse.volumes.items()}
    return Phantom(volumes, Volume(coarse.labels.array, np.eye(4)), Volume(coarse.brain.array, np.eye(4)))


@pytest.fixture(scope="module")
def case(phantom: Phantom) -> PreparedCase:
    return prepare("phantom", phantom.volumes, phantom.labels)


@pytest.mark.parametrize("names", [("fcn32s", "fcn16s", "fcn8s", "unet2d"), ("equiunet", "segresnet")])
@pytest.mark.parametrize("compact", [True, False])
def test_networks_of_one_kind_see_equal_patches(names: tuple[str, ...], compact: bool) -> None:
    with torch.device("meta"):
        recipes = [recipe(name, compact=compact) for name in names]
    assert len({tuple(r.patch) for r in recipes}) == 1
    assert len({r.batch for r in recipes}) == 1
    assert len({r.learning_rate for r in recipes if r.optimizer == "adamw" and r.patch[2] == 1}) <= 1


def test_the_three_fcns_differ_in_their_stride_alone() -> None:
    contents = []
    for name in ("fcn32s", "fcn16s", "fcn8s"):
        content = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
        assert name == f"fcn{content['recipe']['network']['network'].pop('stride')}s"
        contents.append(content)
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("name", NETWORKS)
def test_paper_size_is_the_published_size(name: str) -> None:
    """Millions; SegResNet's and nnU-Net's as MONAI counts them, four channels and five slices of four in, three out.

    Of the network with EfficientNet-Lite0, 2.96 are the encoder's, as published; the decoder is ours.
    """
    published = {
        "dynunet": 20.62,
        "efficientunet": 3.83,
        "equiunet": 23.15,
        "fcn16s": 134.3,
        "fcn32s": 134.3,
        "fcn8s": 134.3,
        "segresnet": 18.8,
        "unet2d": 31.03,
    }
    with torch.device("meta"):
        whole, compact = recipe(name, compact=False), recipe(name)
    millions = [sum(p.numel() for p in r.network.parameters()) / 1e6 for r in (whole, compact)]
    assert millions[0] == pytest.approx(published[name], rel=2e-3)
    assert millions[1] < 5


@pytest.mark.parametrize("name", NETWORKS)
def test_each_recipe_trains_two_steps_and_segments(
    name: str, phantom: Phantom, case: PreparedCase, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    method = recipe(name)
    method = dataclasses.replace(method, patch=(16, 16, min(16, method.patch[2])), batch=2)
    before = {key: value.clone() for key, value in method.network.state_dict().items()}
    path = train(method, TrainingData([case], [case]), Plan(2), folder=tmp_path, device="cpu")
    kept = torch.load(path, weights_only=True)
    assert any(not torch.equal(before[key], kept[key]) for key in before)
    settings = json.loads((tmp_path / SETTINGS).read_text())
    assert settings["parameters"] == sum(value.numel() for value in method.network.parameters())
    assert settings["patch"] == list(method.patch)
    assert settings["augmentation"]["coarse"] == 0
    assert len(list((tmp_path / "log").glob("events.*"))) == 1

    result = load_segmenter(RECIPES / f"{name}.yaml", path, device="cpu")(phantom.volumes, phantom.brain)
    assert result.probabilities.shape == (3, *phantom.brain.shape)
    inside = phantom.brain.array > 0
    assert ((result.probabilities >= 0) & (result.probabilities <= 1)).all()
    assert (result.probabilities[:, inside].std(axis=1) > 0).all()
    assert (result.probabilities[:, ~inside] == 0).all()
    np.testing.assert_allclose(result.labels.affine, phantom.labels.affine)


def test_rates_warm_up_stay_and_fall() -> None:
    ranger = recipe("equiunet")
    rates = [ranger.rate(n, 1000) / ranger.learning_rate for n in range(1000)]
    assert rates[0] == pytest.approx(1 / 50)
    assert rates[49:500] == pytest.approx([1.0] * 451)
    assert rates[500:] == sorted(rates[500:], reverse=True)
    assert rates[750] == pytest.approx(0.51, abs=0.005)
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)
    adamw = recipe("segresnet")
    assert adamw.rate(525, 1000) / adamw.learning_rate == pytest.approx(0.51, abs=0.005)
    assert adamw.rate(1, 10) == pytest.approx(adamw.learning_rate * 2 / 50)


def test_ranger_is_lookahead_over_centralized_momentum() -> None:
    """Its first steps have no second moment: the momentum alone moves the weights, its gradients centered."""
    network = torch.nn.Linear(3, 1, bias=False)
    optimizer = dataclasses.replace(recipe("equiunet"), network=network, learning_rate=0.1).make_optimizer(
        network.parameters()
    )
    start = network.weight.detach().clone()
    gradient = torch.tensor([[1.0, 2.0, 6.0]])
    network.weight.grad = gradient.clone()
    optimizer.step()
    moved = (start - network.weight.detach()).ravel()
    assert moved.sum().item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(moved, 0.1 * (gradient - gradient.mean()).ravel())
    ways = []
    for _ in range(2, 7):
        network.weight.grad = gradient.clone()
        optimizer.step()
        ways.append((start - network.weight.detach()).ravel())
    torch.testing.assert_close(ways[-2], 5 * moved)
    # The sixth goes back half of the way; of itself it is short, as the second moment is hardly known yet.
    assert (ways[-1].norm() / ways[-2].norm()).item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("loss", ["dice", "jaccard", "cross_entropy", "dice_cross_entropy"])
def test_a_recipe_names_any_of_the_losses(loss: str, case: PreparedCase, tmp_path: Path) -> None:
    content = yaml.safe_load((RECIPES / "unet2d.yaml").read_text())
    target = f"acuity.research.losses.segmentation.{loss}_loss"
    content["recipe"] |= {"loss": {"_target_": target, "_mode_": "callable"}, "patch": [16, 16, 1], "batch": 1}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    method = read_recipe(tmp_path / "own.yaml", compact=True)
    train(method, TrainingData([case], [case]), Plan(1), folder=tmp_path, device="cpu")
    assert json.loads((tmp_path / SETTINGS).read_text())["loss"] == f"{loss}_loss"


def test_wrong_recipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no recipe resnet. .* Take one of dynunet, efficientunet, equiunet"):
        recipe("resnet")
    target = "_target_: acuity.research.training.segmentation_recipe.Recipe"
    network = "network: {_target_: torch.nn.Identity}"
    for extra, message in (
        ("color: 1", "unexpected keyword argument 'color'"),
        ("optimizer: sgd", "the optimizer is 'sgd'; there are 'adamw' and 'ranger'"),
        ("patch: [32, 32]", "it has three sizes"),
    ):
        (tmp_path / "odd.yaml").write_text(f"recipe: {{{target}, {network}, {extra}}}\n")
        with pytest.raises(DataError, match=message):
            read_recipe(tmp_path / "odd.yaml", compact=True)
