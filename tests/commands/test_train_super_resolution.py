"""``acuity train`` on tiny NIfTI volumes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from acuity.cli import main
from acuity.networks.initialization import start_as_interpolation
from acuity.networks.ranker import Ranker
from acuity.networks.srresnet import SRResNet
from acuity.research.datasets.ranking import read_ranking_set
from tests.phantom_slices import phantom_slices

RECIPE = """recipe:
  _target_: acuity.research.training.super_resolution_recipe.Recipe
  generator: {_target_: acuity.networks.srresnet.SRResNet, features: 8, blocks: 1}
  discriminator: {_target_: acuity.networks.discriminators.VGGDiscriminator, size: "@patch", features: 8}
  ranker: "@ranker"
  loss_weights: {pixel: 1.0, adversarial: 0.01}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed in range(2):
        stack = np.stack([s.image for s in phantom_slices(3, 40)], axis=2) + seed
        (tmp_path / "data").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(stack, np.diag([1.0, 1, 3, 1])), tmp_path / "data" / f"{seed}.nii.gz")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "tiny.yaml").write_text(RECIPE)
    return tmp_path / "data"


def arguments(data: Path, *more: object, patch: int = 32) -> list[str]:
    folder = data.parent
    return [
        "--data",
        str(data),
        "--output",
        str(folder / "out"),
        "--patch",
        str(patch),
        "--batch",
        "2",
        "--device",
        "cpu",
        *map(str, more),
    ]


def test_both_stages_are_trained_and_shared(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data.parent / "out"
    words = ["train", "sr", "--recipes", str(data.parent / "recipes"), "--recipe", "tiny", "--iterations", "4"]
    assert main([*words, *arguments(data)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "tiny" / "interpolated.pt")
    pixel = out / "pixel_srresnet_bicubic" / "best.pt"
    written = pixel.stat().st_mtime_ns
    (data.parent / "recipes" / "other.yaml").write_text(RECIPE.replace("0.01", "0.02"))
    assert main([*words[:-3], "other", "--iterations", "4", *arguments(data)]) == 0
    assert pixel.stat().st_mtime_ns == written
    first, second, between = (
        torch.load(file, weights_only=True)
        for file in (pixel, out / "tiny" / "best.pt", out / "tiny" / "interpolated.pt")
    )
    assert any(not torch.equal(first[name], second[name]) for name in first)
    for name, value in between.items():
        torch.testing.assert_close(value, 0.2 * first[name] + 0.8 * second[name])
    assert (out / "other" / "best.pt").is_file()


def test_refusals(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "sr", "--recipe", "nogan", *arguments(data)]) == 70
    assert "There is no recipe nogan" in capsys.readouterr().err
    (data / "1.nii.gz").unlink()
    assert main(["train", "sr", "--recipe", "esrgan", *arguments(data)]) == 70
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
        "train",
        "sr",
        "--recipes",
        str(data.parent / "recipes"),
        "--recipe",
        "tiny",
        "--iterations",
        "4",
        *arguments(data),
    ]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    checkpoint = torch.load(data.parent / "out" / "tiny" / "checkpoint.pt", weights_only=True)
    assert checkpoint["iteration"] == 2
    assert len(list((data.parent / "out" / "tiny" / "log").glob("events.*"))) == 1


def test_a_ranker_is_trained_on_what_networks_make(data: Path) -> None:
    """Of images that NIQE can judge: 96 pixels, with detail."""
    rng = np.random.default_rng(0)
    for file in data.iterdir():
        stack = 0.5 + gaussian_filter(rng.standard_normal((112, 112, 16)), (1, 1, 0))
        nib.save(nib.Nifti1Image(stack.clip(0).astype(np.float32), np.diag([1.0, 1, 3, 1])), file)
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        networks += ["--network", str(data.parent / f"{seed}.pt")]
        network = SRResNet(features=8, blocks=1)
        start_as_interpolation(network)
        nn.init.normal_(network.conv_last.weight[:, 1:], std=0.1 * seed)  # the second adds a texture
        torch.save(network.state_dict(), networks[-1])
    words = ["train", "ranker", *networks, "--patches", "3", "--iterations", "2"]
    assert main([*words, *arguments(data, patch=96)]) == 0
    out = data.parent / "out"
    Ranker().load_state_dict(torch.load(out / "ranker" / "best.pt", weights_only=True))
    assert len(read_ranking_set(out / "ranking_train.pt")) > 0
