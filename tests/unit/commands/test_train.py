"""``acuity train`` on tiny NIfTI volumes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from acuity.cli import main
from tests.phantom_slices import phantom_slices

RECIPE = """recipe:
  _target_: acuity.training.recipe.Recipe
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


def arguments(data: Path, *more: object) -> list[str]:
    folder = data.parent
    return [
        "--data", str(data), "--output", str(folder / "out"), "--patch", "32", "--batch", "2", "--device", "cpu",
        *map(str, more),
    ]  # fmt: skip


def test_both_stages_are_trained_and_shared(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data.parent / "out"
    words = ["train", "sr", "--recipes", str(data.parent / "recipes"), "--recipe", "tiny", "--iterations", "4"]
    assert main([*words, *arguments(data)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "tiny" / "best.pt")
    pixel = out / "pixel_srresnet_bicubic" / "best.pt"
    written = pixel.stat().st_mtime_ns
    (data.parent / "recipes" / "other.yaml").write_text(RECIPE.replace("0.01", "0.02"))
    assert main([*words[:-3], "other", "--iterations", "4", *arguments(data)]) == 0
    assert pixel.stat().st_mtime_ns == written
    assert (out / "other" / "best.pt").is_file()


def test_refusals(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "sr", "--recipe", "nogan", *arguments(data)]) == 70
    assert "There is no recipe nogan" in capsys.readouterr().err
    (data / "1.nii.gz").unlink()
    assert main(["train", "sr", "--recipe", "esrgan", *arguments(data)]) == 70
    assert "holds one case" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_train_together(data: Path, repository: Path) -> None:
    """Under torchrun the gradients of both processes are averaged, and one of them writes."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "acuity.cli",
        "train", "sr", "--recipes", str(data.parent / "recipes"), "--recipe", "tiny", "--iterations", "4",
        *arguments(data),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    checkpoint = torch.load(data.parent / "out" / "tiny" / "checkpoint.pt", weights_only=True)
    assert checkpoint["iteration"] == 2
    assert len(list((data.parent / "out" / "tiny" / "log").glob("events.*"))) == 1
