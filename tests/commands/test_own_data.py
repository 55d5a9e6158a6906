"""One's own cases, in any layout, by every command that takes cases."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from acuity.cli import main
from acuity.research.datasets.brats import read_split
from acuity.research.evaluation.slices import comparison, scores, timing
from tests.commands.test_train_segmentation import RECIPE as SEG_RECIPE
from tests.commands.test_train_super_resolution import RECIPE as SR_RECIPE
from tests.research.layouts import AFFINE, LAYOUTS, made_up, save, write_layout, write_one

FOREST = ("--folds", 2, "--trees", 15, "--voxels-per-case", 400)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what takes seconds and has tests of its own."""
    monkeypatch.setattr(scores, "perceptual_distance", lambda device: None)
    monkeypatch.setattr(timing, "SIZE", 32)
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(comparison, "chosen_views", lambda *_: [])


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "seg.yaml").write_text(SEG_RECIPE)
    (tmp_path / "recipes" / "sr.yaml").write_text(SR_RECIPE)
    return tmp_path / "recipes"


def done(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def train(kind: str, data: Path, recipes: Path, output: Path, *options: object) -> dict[str, list[str]]:
    """Train two steps; the split of the run."""
    common = ("--data", data, "--output", output, *options)
    if kind == "forest":
        done("train", "forest", *common, *FOREST)
        return json.loads((output / "split.json").read_text())
    patch = ("--patch", 16, 16, 16) if kind == "seg" else ("--patch", 32)
    steps = ("--iterations", 2, "--batch", 2, "--device", "cpu")
    done("train", kind, "--recipes", recipes, "--recipe", kind, *common, *patch, *steps)
    return json.loads((output / kind / "split.json").read_text())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_three_cases_train_are_evaluated_and_become_data_sets(
    tmp_path: Path, recipes: Path, layout: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    names = write_layout(layout, data)
    done("dataset", "check", data)
    splits = [train(kind, data, recipes, tmp_path / kind) for kind in ("seg", "sr", "forest")]
    assert splits[0] == splits[1] == splits[2]
    assert sorted(name for part in ("train", "validation", "test") for name in splits[0][part]) == names
    (test_case,) = splits[0]["test"]

    forest = f"f={tmp_path / 'forest' / 'forest.npz'}"
    done("evaluate", "seg", "--data", data, "--forest", forest, "--output", tmp_path / "scores_seg")
    assert set(pd.read_csv(tmp_path / "scores_seg" / "segmentation.csv")["case"]) == {test_case}
    weights = f"mine={tmp_path / 'sr' / 'sr' / 'interpolated.pt'}"
    done("evaluate", "sr", "--data", data, "--weights", weights, "--output", tmp_path / "scores_sr", "--device", "cpu")
    assert set(pd.read_csv(tmp_path / "scores_sr" / "scores.csv")["case"]) == {test_case}
    for seen in splits[0]["train"] + splits[0]["validation"]:
        words = ["evaluate", "seg", "--data", data, "--forest", forest, "--case", seen, "--output", tmp_path / "no"]
        assert main([str(word) for word in words]) == 70

    kinds = {"lr": (), "interpolated": ("--part", "test"), "crop": ("--size", 16), "altered": ("--change", "bias")}
    for kind, options in kinds.items():
        out = tmp_path / "sets" / kind
        done("dataset", kind, "--data", data, *options, "--output", out)
        assert set(json.loads((out / "dataset.json").read_text())["cases"]) == (
            {test_case} if "--part" in options else set(names)
        )
    labels = nib.load(tmp_path / "sets" / "crop" / names[0] / f"{names[0]}_seg.nii.gz").get_fdata()
    np.testing.assert_array_equal(np.unique(labels), [0, 1, 2, 4])
    done("dataset", "mirrored", "--data", data, "--output", tmp_path / "sets" / "mirrored")
    if layout == "decathlon":  # whose dataset.json is kept
        assert main(["dataset", "lr", "--data", str(tmp_path / "sets" / "crop"), "--output", str(data)]) == 60

    said = "".join(capsys.readouterr()) + caplog.text
    ours = [name for part in ("train", "validation", "test") for name in read_split()[part]]
    assert not [word for word in ["brats_split", "released", *ours] if word in said]


def test_the_enhancing_tumor_scores_the_same_whether_it_is_3_or_4(tmp_path: Path, recipes: Path) -> None:
    found = {}
    for layout in ("2021", "2023", "decathlon"):
        data, out = tmp_path / layout, tmp_path / f"{layout}_out"
        write_layout(layout, data)
        train("forest", data, recipes, out / "forest")
        words = ("--forest", f"f={out / 'forest' / 'forest.npz'}", "--output", out / "scores")
        done("evaluate", "seg", "--data", data, *words)
        found[layout] = pd.read_csv(out / "scores" / "segmentation.csv").set_index("region")["dsc"]
    assert found["2021"]["ET"] > 0.5
    for layout in ("2023", "decathlon"):
        pd.testing.assert_series_equal(found[layout], found["2021"])


def test_a_folder_that_mixes_own_cases_with_ours_trains_on_all(tmp_path: Path, recipes: Path) -> None:
    data = tmp_path / "data"
    ours, own = read_split()["train"][:2], ["own_1", "own_2", "own_3"]
    for seed, name in enumerate([*ours, *own]):
        write_one("2021", data, name, *made_up(seed))
    for kind in ("seg", "sr", "forest"):
        split = train(kind, data, recipes, tmp_path / kind)
        assert sorted(name for part in ("train", "validation", "test") for name in split[part]) == sorted([*ours, *own])
        assert len(split["train"]) == 3


def test_a_split_of_one_s_own_is_taken_and_kept(
    tmp_path: Path, recipes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, mine = tmp_path / "data", tmp_path / "mine.json"
    one, two, three = write_layout("2021", data)
    mine.write_text(json.dumps({"comment": "mine", "train": [three, one, "absent"], "validation": [two]}))
    for kind in ("seg", "sr"):
        split = train(kind, data, recipes, tmp_path / kind, "--split", mine)
        assert (split["train"], split["validation"], split["test"]) == ([three, one], [two], [])
        assert f"1 for validation: {two}" in capsys.readouterr().err
    settings = json.loads((tmp_path / "seg" / "seg" / "settings.json").read_text())
    assert (settings["cases"], settings["held_out"]) == ([three, one], [two])
    train("seg", data, recipes, tmp_path / "seg")  # goes on by the same split
    mine.write_text(json.dumps({"train": [one, two], "validation": [three]}))
    words = ["train", "seg", "--recipes", recipes, "--recipe", "seg", "--data", data, "--split", mine]
    assert main([str(word) for word in [*words, "--output", tmp_path / "seg"]]) == 70
    assert "is another split" in capsys.readouterr().err
    write_one("2021", data, "four", *made_up(3))
    assert main([str(word) for word in [*words[:-2], "--output", tmp_path / "seg"]]) == 70
    assert "or of other cases" in capsys.readouterr().err


def test_an_empty_patch_does_not_end_a_training(tmp_path: Path, recipes: Path) -> None:
    """Held-out patches that show the background alone cannot be restored better than by interpolation."""
    data = tmp_path / "data"
    for seed in range(2):
        images, labels = made_up(seed)
        wide = [np.pad(image, ((0, 60), (0, 60), (0, 0))) for image in [*images, labels]]
        for image in wide[:4]:
            image[-3:, -3:] = 50  # so that the brain's box is wide and mostly empty
        write_one("2021", data, f"case_{seed}", wide[:4], wide[4])
    train("sr", data, recipes, tmp_path / "sr")


@pytest.mark.parametrize("kind", ["seg", "sr", "forest"])
def test_data_that_is_not_named_is_said(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ACUITY_DATA", raising=False)
    recipe = [] if kind == "forest" else ["--recipe", {"seg": "unet2d", "sr": "esrgan"}[kind]]
    assert main(["train", kind, *recipe, "--output", str(tmp_path)]) == 70
    assert "No folder of data is named" in capsys.readouterr().err


def test_masks_are_never_trained_on_as_images(
    tmp_path: Path, recipes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = made_up(0)
    save(images[0], AFFINE, tmp_path / "data" / "a.nii.gz")
    save(labels, AFFINE, tmp_path / "data" / "a_outline.nii.gz")
    words = ["train", "sr", "--recipes", recipes, "--recipe", "sr", "--data", tmp_path / "data", "--patch", 32]
    assert main([str(word) for word in [*words, "--output", tmp_path / "out"]]) == 70
    assert "a_outline is a mask" in capsys.readouterr().err
