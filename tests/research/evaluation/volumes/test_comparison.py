"""Super-resolved volumes against interpolation, on made-up BraTS cases and with tiny networks."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from acuity.cli import main
from acuity.errors import DataError
from acuity.models.super_resolution import super_resolve
from acuity.research import restoration
from acuity.research.bundles import find_bundles
from acuity.research.datasets import brats
from acuity.research.degradations.volumes import ThickSlices
from acuity.research.evaluation.cases import unseen_cases
from acuity.research.evaluation.volumes import comparison
from acuity.research.evaluation.volumes.comparison import evaluate
from tests.research.datasets.test_slice_sets import add_case
from tests.research.evaluation.bundles import add_bundle, add_convolution

COLUMNS = [
    "case",
    "sequence",
    "degradation",
    "method",
    "psnr",
    "ssim",
    "residual",
    "residual_after",
    "residual_known",
    "seconds",
    "made_from",
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two cases of 24x30x20 voxels of 1 mm."""
    add_case(tmp_path / "data", "first")
    add_case(tmp_path / "data", "second", tumor_at=8)
    return tmp_path / "data"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    add_bundle(tmp_path / "models", "ours")
    return tmp_path / "models"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[float, ...], str]]:
    """Bundle, spacing and slice profile of each volume that is super-resolved; no pictures, which take seconds."""
    found = []

    names = {}

    def loaded(models, *options):
        bundles = find_bundles(models, *options)
        names.update({bundle.network: bundle.name for bundle in bundles})
        return bundles

    def counted(volume, network, *, slice_profile, **options):
        found.append((names[network], tuple(volume.spacing), slice_profile))
        return super_resolve(volume, network, slice_profile=slice_profile, **options)

    monkeypatch.setattr(restoration, "find_bundles", loaded)
    monkeypatch.setattr(restoration, "super_resolve", counted)
    monkeypatch.setattr(comparison, "draw_volumes", lambda *_: None)
    return found


def image(folder: Path, case: str, suffix: str) -> np.ndarray:
    return nib.load(folder / case / f"{case}_{suffix}.nii.gz").get_fdata(dtype=np.float32)


def test_the_command_writes_everything(data, models, tmp_path, capsys):
    """scikit-image on the files that are kept is the judge of the scores."""
    out = tmp_path / "new" / "out"
    options = ["--case", "second", "--degradation", "x2", "slices-3mm", "--keep-volumes", "-v"]
    command = ["evaluate", "volumes", "--data", str(data), "--models", str(models), "--output", str(out)]
    assert main([*command, *options]) == 0
    said = capsys.readouterr()
    table = (out / "super_resolution.md").read_text()
    assert table in said.out and "super-resolution: 100%" in said.err
    scores = pd.read_csv(out / "super_resolution.csv")
    assert scores.columns.tolist() == COLUMNS and set(scores["case"]) == {"second"} and len(scores) == 4 * 2 * 2
    assert scores[["sequence", "degradation", "method"]].values.tolist()[:5] == [
        ["T1", "x2", "tricubic"],
        ["T1", "x2", "ours"],
        ["T1", "slices-3mm", "tricubic"],
        ["T1", "slices-3mm", "ours"],
        ["T1c", "x2", "tricubic"],
    ]
    for row in scores.itertuples():
        suffix = {"T1": "t1", "T1c": "t1ce", "T2": "t2", "FLAIR": "flair"}[row.sequence]
        truth = image(data, "second", suffix)
        kept = image(out / "volumes" / row.degradation / row.method, "second", suffix)
        assert kept.shape == truth.shape == (24, 30, 20)
        thick = row.degradation == "slices-3mm"
        assert not thick or not kept[:, :, [0, 19]].any()
        truth, kept = (a[:, :, 1:19] if thick else a for a in (truth, kept))
        assert row.psnr == pytest.approx(peak_signal_noise_ratio(truth, kept, data_range=truth.max()), abs=1e-3)
        assert row.ssim == pytest.approx(structural_similarity(truth, kept, data_range=truth.max()), abs=1e-4)
        if thick:
            low, again = (a.reshape(24, 30, 6, 3).mean(axis=-1) for a in (truth, kept))
            expected = np.abs(again - low).max() / np.percentile(low[low > 0], 99.9)
            assert row.residual_known == pytest.approx(expected, rel=1e-3)
        if row.method == "tricubic":
            assert np.isnan(row.residual) and np.isnan(row.residual_after)
        else:
            assert 0 < row.residual_after < row.residual
        assert row.seconds > 0
    # What is held to the measured data is better than interpolation, which is not.
    t2 = scores[(scores["sequence"] == "T2") & (scores["degradation"] == "x2")].set_index("method")
    assert t2["psnr"]["ours"] > t2["psnr"]["tricubic"] > 5
    assert t2["residual_known"]["ours"] < t2["residual_known"]["tricubic"]
    for name in ("x2.png", "slices-3mm.png"):
        with Image.open(out / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5
    assert "boxcar profile), without gap; slice profile in super-resolution: box." in table
    assert "across it; slice profile in super-resolution: cubic." in table and "Cases: second." in table
    settings = json.loads((out / "settings.json").read_text())
    assert len(settings["methods"]["ours"]["sha256"]) == 64 and settings["software"]["acuity"]
    assert list(settings["degradations"]) == ["x2", "slices-3mm"]
    assert not list(out.rglob("partial-*"))


def test_of_some_sequences_the_first_is_pictured_without_t1c(data, models, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(comparison, "draw_volumes", lambda title, *_: titles.append(title))
    command = ["evaluate", "volumes", "--data", str(data), "--models", str(models), "--output", str(tmp_path / "out")]
    assert main([*command, "--case", "first", "--degradation", "x2", "--sequence", "FLAIR", "T1"]) == 0
    scores = pd.read_csv(tmp_path / "out" / "super_resolution.csv")
    assert scores["sequence"].tolist() == ["FLAIR", "FLAIR", "T1", "T1"] and titles == ["x2: FLAIR, first"]


def test_a_kept_volume_lies_where_the_case_does(data, models, tmp_path, calls):
    kept = {"slices-3mm": tmp_path / "kept"}
    common = {"data": data, "models": models, "output": tmp_path / "out", "cases": ["first"]}
    evaluate(**common, degradations=["slices-3mm"], keep=kept)
    restored = brats.read_case(tmp_path / "kept" / "tricubic" / "first")
    for sequence, volume in brats.read_case(data / "first").items():
        assert restored[sequence].grid.same_as(volume.grid)
        errors = {
            shift: np.abs(np.roll(restored[sequence].array, shift, axis=2) - volume.array).mean()
            for shift in (-2, -1, 0, 1, 2)
        }
        assert min(errors, key=lambda shift: errors[shift]) == 0


def test_every_degradation_runs(data, models, tmp_path, calls):
    scores = pd.read_csv(evaluate(data=data, models=models, output=tmp_path / "out", cases=["first"]))
    assert scores["degradation"].unique().tolist() == list(comparison.DEGRADATIONS)
    plain = scores[(scores["sequence"] == "T1") & (scores["method"] == "tricubic")]
    psnr = plain.set_index("degradation")["psnr"]
    # The less is measured, the worse.
    assert psnr["x2"] > psnr["x4"]
    assert psnr["in-plane-x2"] > psnr["in-plane-x4"] > psnr["x4"]
    assert psnr["through-plane-x2"] > psnr["x2"]
    # The covered parts differ: 18, 20 and 18 slices.
    assert psnr["slices-3mm"] > psnr["slices-6mm"]


def test_super_resolution_is_told_the_slice_profile(data, models, tmp_path, calls, monkeypatch):
    def run() -> list:
        calls.clear()
        common = {"data": data, "models": models, "output": tmp_path / "out", "cases": ["first"]}
        evaluate(**common, degradations=["through-plane-x2", "slices-5mm"])
        return [call[1:] for call in calls]

    assert run() == [((1.0, 1.0, 2.0), "cubic"), ((1.0, 1.0, 5.0), "box")] * 4
    # What was measured under another profile is measured again.
    other = ThickSlices(5.0)
    object.__setattr__(other, "slice_profile", "cubic")
    monkeypatch.setitem(comparison.DEGRADATIONS, "slices-5mm", other)
    assert run() == [((1.0, 1.0, 5.0), "cubic")] * 4
    assert run() == []


def test_what_is_there_is_not_measured_again(data, models, tmp_path, calls):
    add_bundle(models, "other", spoiled=True)
    out = tmp_path / "out"

    def run(**options) -> list[str]:
        calls.clear()
        common = {"data": data, "models": models, "output": out, "degradations": ["x2"], "cases": ["first", "second"]}
        evaluate(**common | options)
        return [name for name, *_ in calls]

    def written() -> list[str]:
        return [(out / f"super_resolution.{suffix}").read_text() for suffix in ("csv", "md")]

    assert run() == ["other", "ours"] * 8
    first = written()
    assert run() == [] and written() == first

    # Other weights, another image, a slice for the picture that is lost: only what hangs on it.
    add_bundle(models, "other")
    assert run() == ["other"] * 8 and written() != first
    file = data / "second" / "second_t2.nii.gz"
    nib.save(nib.Nifti1Image(image(data, "second", "t2") * 2 + 1, np.diag([-1.0, -1.0, 1.0, 1.0])), file)
    assert run() == ["other", "ours"]
    (out / "slices" / "x2" / "ours.npz").unlink()
    assert run() == ["ours"]

    # Options make methods of their own, beside the others.
    assert run(bundles={"mine": "ours"}, fusion=True, denoising="after", cases=["first"]) == ["ours"] * 4
    assert "mine, fused, denoised after" in written()[0] and ",other," in written()[0]
    methods = json.loads((out / "settings.json").read_text())["methods"]
    assert list(methods) == ["tricubic", "other", "ours", "mine, fused, denoised after"]
    assert methods["mine, fused, denoised after"]["fusion"] is True

    # Kept volumes: those that are absent, then none.
    kept = {"bundles": {"ours": "ours"}, "keep": {"x2": tmp_path / "kept"}, "cases": ["first"]}
    assert run(**kept) == ["ours"] * 4 and run(**kept) == []


def test_a_cut_run_goes_on_after_the_last_case(data, models, tmp_path, calls, monkeypatch):
    measured = comparison.fidelity
    left = [8 + 3]

    def cut(*images):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return measured(*images)

    common = {"data": data, "models": models, "output": tmp_path / "out", "degradations": ["x2"]}
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "fidelity", cut)
        with pytest.raises(KeyboardInterrupt):
            evaluate(**common, cases=["first", "second"])
    assert len(pd.read_csv(tmp_path / "out" / "super_resolution.csv")) == 8
    assert "first" in (tmp_path / "out" / "super_resolution.md").read_text()
    calls.clear()
    assert len(pd.read_csv(evaluate(**common, cases=["first", "second"]))) == 16
    assert len(calls) == 4


def test_errors_have_their_exit_codes(data, models, tmp_path, capsys):
    def refused(code: int, *messages: str, options: tuple[str, ...] = (), data: Path = data, output: str = "out"):
        arguments = ["--data", str(data), "--models", str(models), "--output", str(tmp_path / output), *options]
        assert main(["evaluate", "volumes", *arguments]) == code
        said = capsys.readouterr().err
        assert all(message in said for message in messages)

    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    add_convolution(models, "other")
    refused(70, "nowhere", data=tmp_path / "nowhere")
    refused(70, "no case to measure on", data=tmp_path / "empty")
    refused(70, "holds no case third", "first, second", options=("--case", "third"))
    refused(50, "theirs", "was not found", options=("--bundle", "ours", "theirs"))
    refused(51, "other is none that super-resolves", options=("--bundle", "other"))
    refused(60, "cannot be made a folder", output="file")
    (data / "first" / "first_t2.nii.gz").unlink()
    refused(70, "first has no T2.", options=("--case", "first"))
    with pytest.raises(SystemExit) as stop:
        refused(2, options=("--degradation", "x3"))
    assert stop.value.code == 2 and "invalid choice: 'x3'" in capsys.readouterr().err
    with pytest.raises(DataError, match="x3 is no degradation. It is one of x2, x4"):
        evaluate(data=data, models=models, output=tmp_path / "out", cases=["second"], degradations=["x3"])  # type: ignore[list-item]


def test_bundles_that_do_not_super_resolve_are_passed_over(models):
    add_convolution(models, "other")
    assert [method.name for method in restoration.volume_methods(models, None)] == ["tricubic", "ours"]


def test_cases_of_training_are_left_out(data, monkeypatch):
    split = {"train": ["first"], "validation": [], "test": []}
    monkeypatch.setattr(brats, "read_split", lambda: split)
    assert unseen_cases(data) == unseen_cases(data, ["second"]) == ["second"]
    with pytest.raises(DataError, match="first is for training or validation"):
        unseen_cases(data, ["second", "first"])
    split["validation"] = ["second"]
    with pytest.raises(DataError, match="no case to measure on"):
        unseen_cases(data)


def test_the_test_cases_are_those_of_the_split(shared_data):
    assert unseen_cases(shared_data / "brats") == sorted(brats.read_split()["test"])
