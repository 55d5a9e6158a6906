"""``acuity evaluate sr``, on phantoms and with tiny networks; and what a wrong command line costs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import ndimage

from acuity.cli import main
from acuity.errors import DataError
from acuity.networks.srresnet import SRResNet
from acuity.research.datasets import brats
from acuity.research.evaluation.slices import comparison, scores, timing
from acuity.research.evaluation.slices.methods import interpolations, with_denoising
from acuity.research.evaluation.slices.views import CROP, box_around, chosen_views, detail_center, tumor_masks
from tests.research.datasets.test_slice_sets import BRATS_AFFINE, add_case

METHODS = ["nearest", "bilinear", "bicubic", "Lanczos", "mine"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No VGG16, which its own test has, and small slices to time."""
    monkeypatch.setattr(scores, "perceptual_distance", lambda device: None)
    monkeypatch.setattr(timing, "SIZE", 32)
    monkeypatch.setattr(timing, "ROUNDS", 2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two smooth volumes of three slices."""
    (tmp_path / "data").mkdir()
    for n in range(2):
        noise = ndimage.gaussian_filter(np.random.default_rng(n).standard_normal((72, 64, 3)), (3, 3, 0))
        array = (500 + 200 * noise / noise.std()).clip(0).astype(np.float32)
        nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 5.0, 1.0])), tmp_path / "data" / f"case{n}.nii.gz")
    return tmp_path / "data"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(SRResNet(features=4, blocks=1).state_dict(), tmp_path / "mine.pt")
    return tmp_path / "mine.pt"


def evaluate(data: Path, output: Path, *options: str) -> int:
    return main(["evaluate", "sr", "--data", str(data), "--output", str(output), *options])


def test_everything_is_written(data, weights, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert evaluate(data, out, "--weights", f"mine={weights}", "-v", "--device", "cpu") == 0
    said = capsys.readouterr()
    assert (out / "table.md").read_text() in said.out
    assert "comparing" in said.err and "no NIQE" in said.err
    rows = pd.read_csv(out / "scores.csv")
    assert list(rows)[:5] == ["method", "source", "case", "sequence", "slice"]
    assert rows["method"].tolist()[:6] == ["truth", *METHODS] and len(rows) == 2 * 3 * 6
    assert rows[["perceptual", "niqe"]].isna().all(axis=None)
    assert (rows.loc[rows["method"] == "bicubic", "projected_max"] < 1e-3).all()
    # An untrained network is worse than interpolation, and nearest than bicubic.
    mean = rows.groupby("method")["psnr"].mean()
    assert mean["bicubic"] > mean["nearest"] > mean["mine"]
    for name in ("perception_distortion.png", "panels_1.png"):
        with Image.open(out / name) as image:
            assert np.asarray(image.convert("L")).std() > 5
    settings = json.loads((out / "settings.json").read_text())
    assert settings["data"]["cases"] == ["case0", "case1"] and settings["data"]["slices"] == 6
    assert settings["methods"][-1]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert settings["degradation"]["name"] == "bicubic" and settings["software"]["torch"]


def test_it_repeats_and_options_reach_it(data, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "chosen_views", lambda *_: [])  # panels take seconds

    def scores(name: str, *options: str) -> str:
        assert evaluate(data, tmp_path / name, *options) == 0
        return (tmp_path / name / "scores.csv").read_text()

    first = scores("a", "--scale", "2")
    assert scores("b", "--scale", "2") == first
    assert scores("c", "--scale", "2", "--degradation", "kspace") != first
    assert "ESRGAN" not in (tmp_path / "a" / "table.md").read_text()  # published values are at x4
    after = scores("d", "--scale", "2", "--denoise", "after")
    assert "Lanczos, denoised after" in after
    table = (tmp_path / "d" / "table.md").read_text()
    assert "## Effect of denoising" in table and "non-local means after" in table


def test_errors_have_their_exit_codes(data, weights, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    for code, folders, options, message in (
        (70, (tmp_path / "empty", out), (), "holds no image"),
        (70, (data, out), ("--scale", "2", "--weights", f"mine={weights}"), "enlarges by 4, not by 2"),
        (70, (data, out), ("--weights", f"bicubic={weights}"), "Two methods are named bicubic"),
        (70, (data, out), ("--weights", f"a={tmp_path / 'absent.pt'}"), "absent.pt cannot be read as weights"),
        (50, (data, out), ("--models", str(tmp_path / "empty")), "holds no bundle"),
        (60, (data, weights), (), "cannot be made a folder"),
    ):
        assert evaluate(*folders, *options) == code
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "file.pt"], "'file.pt' is not NAME=FILE"),
        (["--device", "toaster"], "'toaster' is no device"),
        (["--device", "cuda:99"], "'cuda:99' is not on this machine"),
        (["--scale", "3"], "invalid choice: 3"),
    ],
)
def test_a_wrong_command_line_is_said(options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate(Path("a"), Path("b"), *options)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["evaluate", "sr"], ["evaluate", "volumes"], ["evaluate", "seg"], ["dataset", "lr"]]
)
def test_a_wrong_command_line_is_refused_before_what_takes_seconds_to_load(command):
    code = (
        "import sys; from acuity.cli import main\n"
        f"try: main({[*command, '--nonsense']!r})\n"
        "finally: print(sorted({'torch', 'monai', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stdout.strip()) == (2, "[]")


def test_cases_of_training_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "SMALLEST_SIDE", 8)
    for name in ("ours", "trained"):
        add_case(tmp_path, name)
    split = {"train": ["trained"], "validation": [], "test": [], "coarse": []}
    monkeypatch.setattr(comparison, "read_split", lambda: split)
    monkeypatch.setattr(brats, "read_split", lambda: split)
    assert {s.case for s in comparison.evaluation_slices(tmp_path, 4)} == {"ours"}
    images, source = comparison.niqe_reference(tmp_path, [], 4)
    assert len(images) == 4 * 5 and source == "20 high-resolution slices of the training cases trained"
    split["train"] = []
    slices = [s for s in comparison.evaluation_slices(tmp_path, 4) if s.case == "ours"]
    images, source = comparison.niqe_reference(tmp_path, slices, 4)
    assert len(images) == 4 * 12 and source == "48 high-resolution slices of the data that is compared"
    split |= {"train": ["trained"], "validation": ["ours"]}
    with pytest.raises(DataError, match="holds no case to measure on"):
        comparison.evaluation_slices(tmp_path, 4)


def test_small_slices_are_refused(tmp_path):
    add_case(tmp_path, "ours")
    with pytest.raises(DataError, match="has a slice of 24x16 pixels.*32 pixels at least"):
        comparison.evaluation_slices(tmp_path, 4)


def test_views_show_the_tumor_where_it_is_largest(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "SMALLEST_SIDE", 8)
    add_case(tmp_path, "first", tumor_at=13)
    add_case(tmp_path, "second", tumor_at=9)
    slices = comparison.evaluation_slices(tmp_path, 4)
    views = chosen_views(tmp_path, slices, 4)
    # A view of each sequence, from each case in turn.
    assert [(v.item.case, v.item.sequence, v.item.index) for v in views] == [
        ("first", "T1", 13),
        ("second", "T1c", 9),
        ("first", "T2", 13),
        ("second", "FLAIR", 9),
    ]
    # The mask lies on the slice's own pixels: nibabel's image, cut at the same place, is the judge.
    item = views[0].item
    (mask,) = tumor_masks(tmp_path / "first", [item], 4)
    labels = nib.load(tmp_path / "first" / "first_seg.nii.gz").get_fdata()[:, :, 13].T > 0
    image = nib.load(tmp_path / "first" / "first_t1.nii.gz").get_fdata()[:, :, 13].T
    np.testing.assert_allclose(
        np.sort(item.image[mask]) / item.image.max(), np.sort(image[labels]) / image.max(), rtol=1e-3
    )
    assert BRATS_AFFINE[0, 0] == -1


def test_a_box_stays_within_the_image():
    assert box_around((0, 500), (100, 520)) == (slice(0, CROP), slice(520 - CROP, 520))
    assert box_around((50, 60), (100, 120)) == (slice(18, 82), slice(28, 92))
    assert box_around((5, 5), (40, 120)) == (slice(0, 40), slice(0, CROP))


def test_detail_is_sought_and_not_the_strongest_edge():
    image = np.zeros((200, 200), np.float32)
    image[:, :90] = 1.0
    image[100:180, 10:70] = 0.5 + 0.05 * np.random.default_rng(0).standard_normal((80, 60))
    row, column = detail_center(image)
    assert 120 < row < 160 and 25 < column < 60


def test_a_denoised_method_shares_its_timing():
    methods = with_denoising(interpolations(4)[:2], "after")
    ms, denoising = timing.milliseconds(methods, [torch.rand(1, 1, 8, 8)] * 3)
    assert set(ms) == {m.name for m in methods} and all(value > 0 for value in ms.values())
    assert ms["nearest"] == ms["nearest, denoised after"]
    assert set(denoising) == {"nearest, denoised after", "bilinear, denoised after"}
