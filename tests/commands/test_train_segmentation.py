"""``acuity train seg`` on tiny random cases."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from acuity.cli import main
from acuity.commands import train_segmentation
from acuity.research.datasets import brats
from acuity.research.sampling.augmentation import NAMED
from acuity.research.sampling.patches import PreparedCase
from acuity.research.training import data as training_data

RECIPE = """recipe:
  _target_: acuity.research.training.segmentation_recipe.Recipe
  network: {_target_: torch.nn.Conv3d, in_channels: 4, out_channels: 3, kernel_size: "$1 if @compact else 3"}
  patch: [8, 8, 8]
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed, name in enumerate(("first", "second")):
        rng = np.random.default_rng(seed)
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        brain = np.zeros((20, 18, 16), bool)
        brain[3:-3, 3:-3, 2:-2] = True
        labels = np.zeros(brain.shape, np.uint8)
        labels[6:12, 6:12, 4:10] = 2
        labels[8:10, 8:10, 5:8] = 4
        arrays = {
            s: np.where(brain, rng.uniform(20, 250, brain.shape), 0).astype(np.float32)
            for s in ("t1", "t1ce", "t2", "flair")
        }
        for suffix, array in {**arrays, "seg": labels}.items():
            nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1, 1, 1])), folder / f"{name}_{suffix}.nii.gz")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "tiny.yaml").write_text(RECIPE)
    return tmp_path / "data"


def arguments(data: Path, *more: object, recipe: str = "tiny") -> list[str]:
    return [
        "train",
        "seg",
        "--recipes",
        str(data.parent / "recipes"),
        "--recipe",
        recipe,
        "--data",
        str(data),
        "--output",
        str(data.parent / "out"),
        "--device",
        "cpu",
        *map(str, more),
    ]


def test_a_recipe_is_trained_resumed_and_recorded(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data.parent / "out" / "tiny"
    for iterations in (1, 2):
        assert main(arguments(data, "--iterations", iterations, "--patch", 16, 8, 1, "--batch", 2)) == 0
        assert capsys.readouterr().out.strip() == str(folder / "best.pt")
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["iteration"] == 2
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["patch"] == [16, 8, 1]
    assert settings["batch"] == 2
    assert settings["cases"] == ["first"]
    split = json.loads((folder / "split.json").read_text())
    assert (split["train"], split["validation"], split["test"]) == (["first"], ["second"], [])
    assert settings["augmentation"]["thick"] == 0


@pytest.mark.parametrize(
    ("words", "held_out", "last"),
    [(["--fold", 0], "first", True), (["--fold", 1], "second", True), ([], "second", False)],
)
def test_a_fold_is_held_out_and_the_last_weights_are_kept(
    data: Path, monkeypatch: pytest.MonkeyPatch, words: list[object], held_out: str, last: bool
) -> None:
    monkeypatch.setattr(brats, "folds", lambda split: [["first"], ["second"]])
    assert main(arguments(data, "--iterations", 1, *words)) == 0
    settings = json.loads((data.parent / "out" / "tiny" / "settings.json").read_text())
    assert settings["held_out"] == [held_out]
    assert set(settings["cases"]) | {held_out} == {"first", "second"}
    assert settings["keep_last"] == last


def test_the_options_reach_the_training(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def brains(cases: list[PreparedCase], phantoms: int) -> list[PreparedCase]:
        return [PreparedCase("free", one.image, torch.zeros_like(one.regions)) for one in cases]

    monkeypatch.setattr(training_data, "tumor_free_brains", brains)
    out = data.parent / "out"
    assert main(arguments(data, "--iterations", 1)) == 0
    start = out / "tiny" / "best.pt"
    (data.parent / "recipes" / "other.yaml").write_text(RECIPE)
    words = ["--iterations", 1, "--initial-weights", start, "--augmentation", "hospital", "--other-share", 0.4]
    assert main(arguments(data, *words, recipe="other")) == 0
    settings = json.loads((out / "other" / "settings.json").read_text())
    assert settings["initial_weights"]["file"] == "best.pt"
    assert settings["augmentation"]["thick"] > 0
    assert settings["others"] == [{"share": 0.4, "names": ["free"]}]


def test_the_choices_of_the_command_line_are_those_of_the_library() -> None:
    assert list(train_segmentation.AUGMENTATIONS) == list(NAMED)


@pytest.mark.parametrize("command", ["train_segmentation", "train_super_resolution"])
def test_a_line_is_parsed_before_anything_slow_is_imported(command: str, repository: Path) -> None:
    code = (
        f"import argparse, sys; from acuity.commands import {command} as command;"
        "command.add_arguments(argparse.ArgumentParser());"
        "print(sorted({'torch', 'monai', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_paper_size_is_another_network(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(data, "--iterations", 1)) == 0
    start = data.parent / "out" / "tiny" / "best.pt"
    capsys.readouterr()
    assert main(arguments(data, "--iterations", 1, "--paper-size", "--initial-weights", start)) == 70
    assert "does not hold weights of the recipe's Conv3d" in capsys.readouterr().err


def test_refusals(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(data, recipe="none")) == 70
    assert "There is no recipe none" in capsys.readouterr().err
    assert main(arguments(data, "--patch", 16, 16, 12)) == 70
    assert "The patch is 16x16x12 voxels" in capsys.readouterr().err
    for file in (data / "second").iterdir():
        file.unlink()
    (data / "second").rmdir()
    assert main(arguments(data)) == 70
    assert "Cases to train on: 1; to validate on: 0." in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_train_together(data: Path, repository: Path) -> None:
    """Under torchrun the gradients of both processes are averaged, and one of them writes."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "acuity.cli",
        *arguments(data, "--iterations", 2),
    ]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    folder = data.parent / "out" / "tiny"
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["iteration"] == 2
    assert json.loads((folder / "settings.json").read_text())["processes"] == 2
    assert len(list((folder / "log").glob("events.*"))) == 1
