"""The trainer of segmentation: it learns, resumes, keeps the weights it is told to, and refuses what does not fit."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from acuity.errors import DataError
from acuity.networks.cascade import CoarseToFine, Ensemble
from acuity.networks.equiunet import EquiUnet
from acuity.networks.slicewise import Slices
from acuity.networks.unet2d import UNet2d
from acuity.research.losses.segmentation import cross_entropy_loss
from acuity.research.sampling.augmentation import Augmentation
from acuity.research.sampling.patches import Patches, PreparedCase, Source
from acuity.research.training import cascade, segmentation
from acuity.research.training.data import TrainingData, training_data
from acuity.research.training.loop import CHECKPOINT, SETTINGS, NonFiniteLossError
from acuity.research.training.segmentation import Plan, dice_by_region, overview
from acuity.research.training.segmentation_recipe import Recipe

PLAIN = Augmentation(soften=0, contrast=0, noise=0, missing=0)


def train(recipe: Recipe, case: PreparedCase, folder: Path, iterations: int, **options: Any) -> Path:
    """On one case, which is validated on, too."""
    weights = options.pop("initial_weights", None)
    plan = Plan(iterations, **options)
    return segmentation.train(
        recipe, TrainingData([case], [case]), plan, folder=folder, initial_weights=weights, device="cpu"
    )


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return state


def settings_of(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text())
    return settings


def bright_case(name: str = "bright", seed: int = 0) -> PreparedCase:
    """ET, TC and WT nested, each bright in a sequence of its own: T1c, T2 and FLAIR."""
    rng = np.random.default_rng(seed)
    image = rng.normal(-0.5, 0.1, (4, 24, 24, 24)).astype(np.float32)
    regions = np.zeros((3, 24, 24, 24), np.uint8)
    for region, margin in enumerate((9, 7, 5)):
        regions[region, margin:-margin, margin:-margin, margin:-margin] = 1
        image[region + 1] += 4 * regions[region]
    return PreparedCase(name, torch.from_numpy(image).half(), torch.from_numpy(regions))


def linear(**options: object) -> Recipe:
    torch.manual_seed(0)
    network = nn.Conv3d(4, 3, 1)
    nn.init.zeros_(network.weight)
    return Recipe(network, patch=(8, 8, 8), batch=2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("optimizer", ["adamw", "ranger"])
def test_it_learns_what_can_be_seen(optimizer: str, tmp_path: Path) -> None:
    recipe = linear(optimizer=optimizer, learning_rate=0.3, constant_share=1.0)
    case = bright_case()
    path = train(recipe, case, tmp_path, 80, ema=0.5, augmentation=PLAIN, validate_every=40)
    network = nn.Conv3d(4, 3, 1)
    network.load_state_dict(weights_of(path))
    found = (network(case.image.float()[None])[0] > 0).detach().numpy()
    assert dice_by_region([found], [case])["dice"] > 0.9
    # Each region is found by its own sequence.
    assert network.weight.detach()[:, 1:, 0, 0, 0].argmax(dim=1).tolist() == [0, 1, 2]


def test_a_network_that_segments_the_middle_of_a_patch_learns_from_the_middle(tmp_path: Path) -> None:
    bright = torch.rand((1, 24, 24, 24), generator=torch.Generator().manual_seed(0)) > 0.5
    image = torch.where(bright, 1.0, -1.0).expand(4, -1, -1, -1)
    case = PreparedCase("voxels at random", image.half(), bright.expand(3, -1, -1, -1).to(torch.uint8))
    sees_three = nn.Conv2d(3 * 4, 3, 1)
    recipe = Recipe(Slices(sees_three, neighbors=1), cross_entropy_loss, learning_rate=0.1, patch=(8, 8, 3))
    best = train(recipe, case, tmp_path, 60, augmentation=PLAIN, ema=0.5, validate_every=60)
    weight = weights_of(best)["network.weight"].sum(dim=(0, 2, 3)).reshape(3, 4).sum(dim=1)
    assert weight[1] > 3 * weight[[0, 2]].abs().max()


def test_a_resumed_run_reaches_the_same_weights(tmp_path: Path) -> None:
    def weights(folder: Path, *iterations: int) -> dict[str, torch.Tensor]:
        for count in iterations:
            torch.manual_seed(0)
            network = nn.Sequential(nn.Conv3d(4, 8, 1), nn.Dropout(), nn.Conv3d(8, 3, 1))
            train(Recipe(network, patch=(8, 8, 8), optimizer="ranger"), bright_case(), folder, count)
        return torch.load(folder / CHECKPOINT, weights_only=True)["state"]["network"]

    # Within the warm-up, so that the length of the run does not change the rates; past Ranger's sixth step.
    whole, cut = weights(tmp_path / "whole", 10), weights(tmp_path / "cut", 4, 10)
    for key, value in whole.items():
        torch.testing.assert_close(cut[key], value, atol=1e-6, rtol=1e-5)


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    recipe = linear(loss=lambda logits, target: logits.mean() * float("nan"))
    with pytest.raises(NonFiniteLossError, match="iteration 0: {'region': nan}"):
        train(recipe, bright_case(), tmp_path, 2)


def test_initial_weights_are_taken_or_refused(tmp_path: Path) -> None:
    recipe = linear()
    state = {key: torch.full_like(value, 0.25) for key, value in recipe.network.state_dict().items()}
    torch.save(state, tmp_path / "start.pt")
    path = train(recipe, bright_case(), tmp_path / "run", 1, initial_weights=tmp_path / "start.pt")
    for value in weights_of(path).values():
        torch.testing.assert_close(value, torch.full_like(value, 0.25), atol=1e-3, rtol=0)
    assert settings_of(tmp_path / "run")["initial_weights"]["file"] == "start.pt"
    torch.save(nn.Conv3d(4, 5, 1).state_dict(), tmp_path / "other.pt")
    with pytest.raises(DataError, match="other.pt does not hold weights of the recipe's Conv3d"):
        train(recipe, bright_case(), tmp_path / "refused", 1, initial_weights=tmp_path / "other.pt")
    assert not (tmp_path / "refused").exists()


def test_other_sources_are_trained_on_and_recorded(tmp_path: Path) -> None:
    """All patches of a source whose image is 0 and whose tumor is everywhere: the bias alone learns."""
    size = (40, 40, 40)
    everywhere = PreparedCase("everywhere", torch.zeros(4, *size).half(), torch.ones(3, *size).to(torch.uint8))
    recipe, case = linear(learning_rate=0.1, constant_share=1.0), bright_case()
    data = TrainingData([case], [case], [Source([everywhere], 1.0)])
    path = segmentation.train(recipe, data, Plan(40, ema=0.5, augmentation=PLAIN), folder=tmp_path, device="cpu")
    assert (weights_of(path)["bias"] > 0.1).all()
    settings = settings_of(tmp_path)
    assert settings["others"] == [{"share": 1.0, "names": ["everywhere"]}]
    assert settings["cases"] == settings["held_out"] == ["bright"]


def test_the_overview_shows_the_slice_of_the_largest_tumor() -> None:
    case = bright_case()
    case.regions[2, 3:21, 3:20, 6] = 1
    preds = np.zeros((3, 24, 24, 24), bool)
    preds[2, 10, 11, 6] = True
    picture = overview(case, preds)
    assert picture.shape == (3, 24, 96)
    assert picture.min() >= 0
    assert picture.max() <= 1
    _, _, truth, found = picture.split(24, dim=2)
    torch.testing.assert_close(truth[2], case.regions[2, :, :, 6].T.float())
    assert torch.nonzero(found).tolist() == [[2, 11, 10]]


def train_part(network: CoarseToFine, part: str, folder: Path, **method: Any) -> Path:
    """One step on one case."""
    data = training_data([bright_case()], [bright_case()], halved=part == "coarse")
    return cascade.train(network, part, partial(Recipe, **method), data, Plan(1), folder=folder, device="cpu")


def test_the_cascade_trains_one_stage_and_keeps_the_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CoarseToFine(EquiUnet(width=16), EquiUnet(width=16))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    kept = {}
    for stage in ("coarse", "fine"):
        kept[stage] = weights_of(train_part(network, stage, tmp_path / stage, patch=(8, 8, 8)))
        assert settings_of(tmp_path / stage)["spacing"] == {"coarse": 2.0, "fine": 1.0}[stage]
        network.load_state_dict(kept[stage])
    for key, value in before.items():
        assert torch.equal(kept["coarse"][key], value) == key.startswith("fine."), key
        assert torch.equal(kept["fine"][key], kept["coarse"][key]) == key.startswith("coarse."), key


def test_a_member_of_an_ensemble_is_trained_and_validated_as_if_it_were_all_of_its_stage(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fine = Ensemble([Slices(UNet2d(width=4), "axial"), Slices(UNet2d(width=4), "coronal")])
    network = CoarseToFine(EquiUnet(width=16), fine)
    before = {key: value.clone() for key, value in fine.state_dict().items()}
    path = train_part(network, "fine.networks.1", tmp_path, patch=(8, 1, 8), batch=2, loss=cross_entropy_loss)
    settings = settings_of(tmp_path)
    assert (settings["batch"], settings["loss"]) == (2, "cross_entropy_loss")
    kept = weights_of(path)
    for key, value in network.coarse.state_dict().items():
        assert torch.equal(kept[f"coarse.{key}"], value), key
    cascade.load_part(network, "fine.networks.1", path)
    changed = {key for key, value in network.fine.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and all(key.startswith("networks.1.") for key in changed)


@pytest.mark.parametrize(("part", "spacing"), [("coarse", 1.0), ("fine", 2.0)])
def test_data_of_another_resolution_than_the_stages_is_refused(part: str, spacing: float, tmp_path: Path) -> None:
    network = CoarseToFine(EquiUnet(width=16), EquiUnet(width=16))
    data = TrainingData([bright_case()], [bright_case()], spacing=spacing)
    with pytest.raises(ValueError, match=f"voxels of {spacing:g} mm; {part} is trained at"):
        cascade.train(network, part, Recipe, data, Plan(1), folder=tmp_path, device="cpu")


def test_patches_are_turned_for_a_network_of_several_planes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = []

    class Noted(Patches):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            turned.append(self.turned)

    monkeypatch.setattr(segmentation, "Patches", Noted)
    for several in (False, True):
        network = Slices(UNet2d(width=4), ["axial", "sagittal"] if several else "axial")
        train(Recipe(network, cross_entropy_loss, patch=(8, 8, 1)), bright_case(), tmp_path / str(several), 1)
    assert turned == [False, True]


def test_the_last_weights_are_kept_if_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first validation is the best: its weights are kept, or those of the end."""
    kept = {}
    for last in (False, True):
        scores = iter([0.9, 0.1])
        monkeypatch.setattr(segmentation, "dice_by_region", lambda *_, s=scores: {"dice": next(s)})
        torch.manual_seed(0)
        recipe = Recipe(nn.Conv3d(4, 3, 1), patch=(8, 8, 8))
        path = train(recipe, bright_case(), tmp_path / str(last), 2, validate_every=1, ema=0.5, keep_last=last)
        kept[last] = weights_of(path)["weight"]
        final = torch.load(path.with_name(CHECKPOINT), weights_only=True)["state"]["average"]["module.weight"]
        assert torch.equal(kept[last], final) == last
    assert not torch.equal(kept[False], kept[True])


@pytest.mark.parametrize("frozen", [False, True])
def test_statistics_of_batches_are_kept_if_told(frozen: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    recipe = Recipe(nn.Sequential(nn.BatchNorm3d(4), nn.Conv3d(4, 3, 1)), patch=(8, 8, 8))
    kept = weights_of(train(recipe, bright_case(), tmp_path, 2, ema=0.5, frozen_statistics=frozen))
    assert torch.equal(kept["0.running_mean"], torch.zeros(4)) == frozen
    assert torch.equal(kept["0.running_var"], torch.ones(4)) == frozen
    assert not torch.equal(kept["0.weight"], torch.ones(4))  # what is learned is learned


def test_what_is_no_part_is_not_loaded(tmp_path: Path) -> None:
    network = CoarseToFine(EquiUnet(width=16), EquiUnet(width=16))
    torch.save(UNet2d(width=4).state_dict(), tmp_path / "other.pt")
    for part in ("fine", "fine.networks.0"):
        with pytest.raises(DataError, match=f"other.pt does not hold weights of the part {part} "):
            cascade.load_part(network, part, tmp_path / "other.pt")
