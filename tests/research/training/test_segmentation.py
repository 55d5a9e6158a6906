"""The segmentation's trainer: it learns, resumes, uses degraded versions, and refuses what does not fit."""

from __future__ import annotations

import json
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
from acuity.research.sampling.patches import Patches, PreparedCase
from acuity.research.training import cascade, segmentation
from acuity.research.training.loop import CHECKPOINT, NonFiniteLossError
from acuity.research.training.segmentation import dice_by_region, overview, read_variants, train
from acuity.research.training.segmentation_recipe import SegmentationRecipe

PLAIN = Augmentation(soften=0, contrast=0, noise=0, missing=0)


def bright_case(name: str = "bright", seed: int = 0) -> PreparedCase:
    """ET, TC and WT nested, each bright in a sequence of its own: T1c, T2 and FLAIR."""
    rng = np.random.default_rng(seed)
    image = rng.normal(-0.5, 0.1, (4, 24, 24, 24)).astype(np.float32)
    regions = np.zeros((3, 24, 24, 24), np.uint8)
    for region, margin in enumerate((9, 7, 5)):
        regions[region, margin:-margin, margin:-margin, margin:-margin] = 1
        image[region + 1] += 4 * regions[region]
    return PreparedCase(name, torch.from_numpy(image).half(), torch.from_numpy(regions))


def linear(**options: object) -> SegmentationRecipe:
    torch.manual_seed(0)
    network = nn.Conv3d(4, 3, 1)
    nn.init.zeros_(network.weight)
    return SegmentationRecipe(network, patch=(8, 8, 8), batch=2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("optimizer", ["adamw", "ranger"])
def test_it_learns_what_can_be_seen(optimizer: str, tmp_path: Path) -> None:
    recipe = linear(optimizer=optimizer, learning_rate=0.3, constant_share=1.0)
    case = bright_case()
    path = train(
        recipe,
        [case],
        [case],
        folder=tmp_path,
        iterations=80,
        ema=0.5,
        augmentation=PLAIN,
        validate_every=40,
        device="cpu",
    )
    network = nn.Conv3d(4, 3, 1)
    network.load_state_dict(torch.load(path, weights_only=True))
    found = (network(case.image.float()[None])[0] > 0).detach().numpy()
    assert dice_by_region([found], [case])["dice"] > 0.9
    # Each region is found by its own sequence.
    assert network.weight.detach()[:, 1:, 0, 0, 0].argmax(dim=1).tolist() == [0, 1, 2]


def test_a_network_that_segments_the_middle_of_a_patch_learns_from_the_middle(tmp_path: Path) -> None:
    bright = torch.rand((1, 24, 24, 24), generator=torch.Generator().manual_seed(0)) > 0.5
    image = torch.where(bright, 1.0, -1.0).expand(4, -1, -1, -1)
    case = PreparedCase("voxels at random", image.half(), bright.expand(3, -1, -1, -1).to(torch.uint8))
    sees_three = nn.Conv2d(3 * 4, 3, 1)
    recipe = SegmentationRecipe(Slices(sees_three, neighbors=1), cross_entropy_loss, learning_rate=0.1, patch=(8, 8, 3))
    best = train(
        recipe,
        [case],
        [case],
        folder=tmp_path,
        iterations=60,
        augmentation=PLAIN,
        ema=0.5,
        validate_every=60,
        device="cpu",
    )
    weight = torch.load(best, weights_only=True)["network.weight"].sum(dim=(0, 2, 3)).reshape(3, 4).sum(dim=1)
    assert weight[1] > 3 * weight[[0, 2]].abs().max()


def test_a_resumed_run_reaches_the_same_weights(tmp_path: Path) -> None:
    def weights(folder: Path, *iterations: int) -> dict[str, torch.Tensor]:
        for count in iterations:
            torch.manual_seed(0)
            network = nn.Sequential(nn.Conv3d(4, 8, 1), nn.Dropout(), nn.Conv3d(8, 3, 1))
            recipe = SegmentationRecipe(network, patch=(8, 8, 8), optimizer="ranger")
            train(recipe, [bright_case()], [bright_case()], folder=folder, iterations=count, device="cpu")
        return torch.load(folder / CHECKPOINT, weights_only=True)["state"]["network"]

    # Within the warm-up, so that the length of the run does not change the rates; past Ranger's sixth step.
    whole, cut = weights(tmp_path / "whole", 10), weights(tmp_path / "cut", 4, 10)
    for key, value in whole.items():
        torch.testing.assert_close(cut[key], value, atol=1e-6, rtol=1e-5)


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    recipe = linear(loss=lambda logits, target: logits.mean() * float("nan"))
    with pytest.raises(NonFiniteLossError, match="iteration 0: {'region': nan}"):
        train(recipe, [bright_case()], [bright_case()], folder=tmp_path, iterations=2, device="cpu")


def test_consistency_is_computed_if_it_has_a_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And between each degraded version and its own place in the case."""
    whole = bright_case()
    where = (slice(None), *[slice(4, 22)] * 3)
    part = PreparedCase(whole.name, (whole.image[where] * 0.5), whole.regions[where])
    calls = []

    def spy(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        calls.append((first.shape, second.shape))
        return (first - second).square().mean()

    monkeypatch.setattr(segmentation, "agreement_loss", spy)
    for weight in (0.0, 1.0):
        train(
            linear(),
            [whole],
            [whole],
            folder=tmp_path / str(weight),
            iterations=2,
            variants={whole.name: [part]},
            variant_share=1.0,
            consistency=weight,
            device="cpu",
        )
        settings = json.loads((tmp_path / str(weight) / segmentation.SETTINGS).read_text())
        assert settings["consistency"] == weight
        assert settings["variants"] == [whole.name]
        assert calls == ([] if weight == 0 else [(torch.Size([2, 3, 8, 8, 8]),) * 2] * 2)


def test_agreement_grows_with_its_weight(tmp_path: Path) -> None:
    """A version in which ET cannot be seen: with the term, its predictions come closer to those on the case."""
    whole = bright_case()
    image = whole.image.clone()
    image[1] = -0.5
    blind = PreparedCase(whole.name, image, whole.regions)
    difference = {}
    for weight in (0.0, 30.0):
        recipe = linear(learning_rate=0.3, constant_share=1.0)
        train(
            recipe,
            [whole],
            [whole],
            folder=tmp_path / str(weight),
            iterations=60,
            variants={whole.name: [blind]},
            variant_share=1.0,
            consistency=weight,
            augmentation=PLAIN,
            device="cpu",
        )
        with torch.no_grad():
            seen, unseen = (recipe.network(c.image.float()[None]).sigmoid() for c in (whole, blind))
        difference[weight] = (seen - unseen).square().mean().item()
    assert difference[30.0] < 0.5 * difference[0.0]


def test_variants_are_read_from_files_and_refused(tmp_path: Path) -> None:
    case = bright_case("a")
    items = [{"name": name, "image": case.image, "regions": case.regions} for name in ("a", "a", "held_out")]
    torch.save(items, tmp_path / "degraded.pt")
    variants = read_variants([tmp_path / "degraded.pt"], ["a", "b"])
    assert {name: len(cases) for name, cases in variants.items()} == {"a": 2}
    (tmp_path / "other.pt").write_bytes(b"nothing of the kind")
    for name in ("other.pt", "absent.pt"):
        with pytest.raises(DataError, match=f"{name} cannot be read as degraded cases"):
            read_variants([tmp_path / name], ["a"])


def test_initial_weights_are_taken_or_refused(tmp_path: Path) -> None:
    recipe = linear()
    state = {key: torch.full_like(value, 0.25) for key, value in recipe.network.state_dict().items()}
    torch.save(state, tmp_path / "start.pt")
    path = train(
        recipe,
        [bright_case()],
        [bright_case()],
        folder=tmp_path / "run",
        iterations=1,
        initial_weights=tmp_path / "start.pt",
        device="cpu",
    )
    for value in torch.load(path, weights_only=True).values():
        torch.testing.assert_close(value, torch.full_like(value, 0.25), atol=1e-3, rtol=0)
    torch.save(nn.Conv3d(4, 5, 1).state_dict(), tmp_path / "other.pt")
    with pytest.raises(DataError, match="other.pt does not hold weights of the recipe's Conv3d"):
        train(
            recipe,
            [],
            [],
            folder=tmp_path / "refused",
            iterations=1,
            initial_weights=tmp_path / "other.pt",
            device="cpu",
        )
    assert not (tmp_path / "refused").exists()


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


def test_the_cascade_trains_one_stage_and_keeps_the_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CoarseToFine(EquiUnet(width=16), EquiUnet(width=16))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    kept = {}
    for stage in ("coarse", "fine"):
        path = cascade.train(
            network,
            part=stage,
            folder=str(tmp_path / stage),
            iterations=1,
            patch=(8, 8, 8),
            train_cases=[bright_case()],
            validation_cases=[bright_case()],
            phantoms=0,
            device="cpu",
        )
        kept[stage] = torch.load(path, weights_only=True)
        settings = json.loads((tmp_path / stage / segmentation.SETTINGS).read_text())
        assert settings["spacing"] == {"coarse": 2.0, "fine": 1.0}[stage]
        network.load_state_dict(kept[stage])
    for key, value in before.items():
        assert torch.equal(kept["coarse"][key], value) == key.startswith("fine."), key
        assert torch.equal(kept["fine"][key], kept["coarse"][key]) == key.startswith("coarse."), key


def test_a_member_of_an_ensemble_is_trained_and_validated_as_if_it_were_all_of_its_stage(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fine = Ensemble([Slices(UNet2d(width=4), "axial"), Slices(UNet2d(width=4), "coronal")])
    network = CoarseToFine(EquiUnet(width=16), fine)
    before = {key: value.clone() for key, value in fine.state_dict().items()}
    path = cascade.train(
        network,
        part="fine.networks.1",
        folder=str(tmp_path),
        iterations=1,
        patch=(8, 1, 8),
        batch=2,
        loss=cross_entropy_loss,
        train_cases=[bright_case()],
        validation_cases=[bright_case()],
        phantoms=0,
        device="cpu",
    )
    settings = json.loads((tmp_path / segmentation.SETTINGS).read_text())
    assert (settings["batch"], settings["loss"]) == (2, "cross_entropy_loss")
    kept = torch.load(path, weights_only=True)
    for key, value in network.coarse.state_dict().items():
        assert torch.equal(kept[f"coarse.{key}"], value), key
    cascade.load_part(network, "fine.networks.1", path)
    changed = {key for key, value in network.fine.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and all(key.startswith("networks.1.") for key in changed)


def test_patches_are_turned_for_a_network_of_several_planes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = []

    class Noted(Patches):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            turned.append(self.turned)

    monkeypatch.setattr(segmentation, "Patches", Noted)
    for several in (False, True):
        network = Slices(UNet2d(width=4), ["axial", "sagittal"] if several else "axial")
        recipe = SegmentationRecipe(network, cross_entropy_loss, patch=(8, 8, 1))
        train(recipe, [bright_case()], [bright_case()], folder=tmp_path / str(several), iterations=1, device="cpu")
    assert turned == [False, True]


def test_the_last_weights_are_kept_if_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first validation is the best: its weights are kept, or those of the end."""
    kept = {}
    for last in (False, True):
        scores = iter([0.9, 0.1])
        monkeypatch.setattr(segmentation, "dice_by_region", lambda *_, s=scores: {"dice": next(s)})
        torch.manual_seed(0)
        recipe = SegmentationRecipe(nn.Conv3d(4, 3, 1), patch=(8, 8, 8))
        path = train(
            recipe,
            [bright_case()],
            [bright_case()],
            folder=tmp_path / str(last),
            iterations=2,
            validate_every=1,
            ema=0.5,
            keep_last=last,
            device="cpu",
        )
        kept[last] = torch.load(path, weights_only=True)["weight"]
        final = torch.load(path.with_name(CHECKPOINT), weights_only=True)["state"]["average"]["module.weight"]
        assert torch.equal(kept[last], final) == last
    assert not torch.equal(kept[False], kept[True])


@pytest.mark.parametrize("frozen", [False, True])
def test_statistics_of_batches_are_kept_if_told(frozen: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm3d(4), nn.Conv3d(4, 3, 1))
    recipe = SegmentationRecipe(network, patch=(8, 8, 8))
    path = train(
        recipe,
        [bright_case()],
        [bright_case()],
        folder=tmp_path,
        iterations=2,
        ema=0.5,
        frozen_statistics=frozen,
        device="cpu",
    )
    kept = torch.load(path, weights_only=True)
    assert torch.equal(kept["0.running_mean"], torch.zeros(4)) == frozen
    assert torch.equal(kept["0.running_var"], torch.ones(4)) == frozen
    assert not torch.equal(kept["0.weight"], torch.ones(4))  # what is learned is learned


def test_what_is_no_part_is_not_loaded(tmp_path: Path) -> None:
    network = CoarseToFine(EquiUnet(width=16), EquiUnet(width=16))
    torch.save(UNet2d(width=4).state_dict(), tmp_path / "other.pt")
    for part in ("fine", "fine.networks.0"):
        with pytest.raises(DataError, match=f"other.pt does not hold weights of the part {part} "):
            cascade.load_part(network, part, tmp_path / "other.pt")


def test_pooling_halves_and_keeps_the_majority() -> None:
    case = bright_case()
    half = cascade.pooled(case)
    assert half.image.shape == (4, 12, 12, 12)
    torch.testing.assert_close(half.image.float().mean(), case.image.float().mean(), atol=1e-3, rtol=0)
    # Voxels 5 to 18: six whole pairs along each axis, and half of one at both ends. Half a cell counts, at the faces;
    # a quarter or an eighth does not, at edges and corners.
    assert half.regions[2].sum() == 6**3 + 6 * 6**2
