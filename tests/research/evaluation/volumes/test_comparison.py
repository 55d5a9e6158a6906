"""Super-resolved volumes against interpolation, on made-up BraTS cases and with tiny networks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from acuity.cli import main
from acuity.errors import DataError
from acuity.models.bundle import load_bundle
from acuity.models.super_resolution import super_resolve
from acuity.networks.initialization import start_as_interpolation
from acuity.networks.srresnet import SRResNet
from acuity.research.datasets import brats
from acuity.research.degradations.volumes import ThickSlices
from acuity.research.evaluation.volumes import comparison as super_resolution
from acuity.research.evaluation.volumes import methods as volume_methods
from acuity.research.evaluation.volumes.comparison import evaluate, unseen_cases
from tests.research.datasets.test_slice_sets import add_case

TINY = {"_target_": "acuity.networks.srresnet.SRResNet", "features": 4, "blocks": 1, "scale": 2}
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


def add_bundle(models: Path, name: str, *, spoilt: bool = False) -> None:
    """A network that interpolates exactly, bilinearly; spoilt, it gives something else."""
    torch.manual_seed(0)
    network = SRResNet(features=4, blocks=1, scale=2)
    start_as_interpolation(network)
    if spoilt:
        with torch.no_grad():
            network.conv_last.weight.mul_(0.8)
    add_network(models / name, TINY, network)


def add_network(folder: Path, definition: dict[str, object], network: torch.nn.Module) -> None:
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "0.0.1"}))
    (folder / "configs" / "inference.json").write_text(json.dumps({"network_def": definition}))
    torch.save(network.state_dict(), folder / "models" / "model.pt")


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
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bundle of each volume that is super-resolved; no pictures are drawn, which takes seconds."""
    found: list[str] = []
    names: dict[torch.nn.Module, str] = {}

    def loaded(models, name):
        bundle = load_bundle(models, name)
        names[bundle.network] = name
        return bundle

    def counted(volume, network, **options):
        found.append(names[network])
        return super_resolve(volume, network, **options)

    monkeypatch.setattr(volume_methods, "load_bundle", loaded)
    monkeypatch.setattr(volume_methods, "super_resolve", counted)
    monkeypatch.setattr(super_resolution, "draw_volumes", lambda *_: None)
    return found


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def image(folder: Path, case: str, suffix: str) -> np.ndarray:
    return nib.load(folder / case / f"{case}_{suffix}.nii.gz").get_fdata(dtype=np.float32)


def test_the_command_writes_everything(data, models, tmp_path, capsys):
    """scikit-image on the files that are kept is the judge of the scores."""
    out = tmp_path / "new" / "out"
    assert (
        main(
            [
                "evaluate",
                "volumes",
                "--data",
                str(data),
                "--models",
                str(models),
                "--output",
                str(out),
                "-v",
                "--case",
                "second",
                "--degradation",
                "x2",
                "slices-3mm",
                "--keep-volumes",
            ]
        )
        == 0
    )
    said = capsys.readouterr()
    assert (out / "super_resolution.md").read_text() in said.out
    assert "super-resolution: 100%" in said.err
    rows = read(out / "super_resolution.csv")
    assert list(rows[0]) == COLUMNS
    assert [(r["sequence"], r["degradation"], r["method"]) for r in rows[:5]] == [
        ("T1", "x2", "tricubic"),
        ("T1", "x2", "ours"),
        ("T1", "slices-3mm", "tricubic"),
        ("T1", "slices-3mm", "ours"),
        ("T1c", "x2", "tricubic"),
    ]
    assert len(rows) == 4 * 2 * 2 and {r["case"] for r in rows} == {"second"}
    for row in rows:
        suffix = {"T1": "t1", "T1c": "t1ce", "T2": "t2", "FLAIR": "flair"}[row["sequence"]]
        truth = image(data, "second", suffix)
        kept = image(out / "volumes" / row["degradation"] / row["method"], "second", suffix)
        assert kept.shape == truth.shape == (24, 30, 20)
        covered = slice(1, 19) if row["degradation"] == "slices-3mm" else slice(None)
        assert row["degradation"] == "x2" or not kept[:, :, [0, 19]].any()
        truth, kept = truth[:, :, covered], kept[:, :, covered]
        expected = peak_signal_noise_ratio(truth, kept, data_range=truth.max())
        assert float(row["psnr"]) == pytest.approx(expected, abs=1e-3)
        assert float(row["ssim"]) == pytest.approx(structural_similarity(truth, kept, data_range=truth.max()), abs=1e-4)
        if row["degradation"] == "slices-3mm":
            low, again = (a.reshape(24, 30, 6, 3).mean(axis=-1) for a in (truth, kept))
            expected = np.abs(again - low).max() / np.percentile(low[low > 0], 99.9)
            assert float(row["residual_known"]) == pytest.approx(expected, rel=1e-3)
        if row["method"] == "tricubic":
            assert row["residual"] == row["residual_after"] == ""
        else:
            assert float(row["residual_after"]) < 1e-3 < float(row["residual"])
            # The projection knows how slices were made, so that it keeps their means, too.
            assert row["degradation"] == "x2" or expected < 1.1e-3
        assert float(row["seconds"]) > 0
    # What agrees with the measured data is better than interpolation, which does not.
    by = {(r["sequence"], r["degradation"], r["method"]): r for r in rows}
    assert float(by["T2", "x2", "ours"]["psnr"]) > float(by["T2", "x2", "tricubic"]["psnr"]) > 5
    assert float(by["T2", "x2", "ours"]["residual_known"]) < 1e-2 < float(by["T2", "x2", "tricubic"]["residual_known"])
    for name in ("x2.png", "slices-3mm.png"):
        with Image.open(out / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5
    table = (out / "super_resolution.md").read_text()
    assert "boxcar profile), without gap; slice profile in super-resolution: box." in table
    assert "across it; slice profile in super-resolution: cubic." in table
    assert "Cases: second." in table and "none is called real" in table
    settings = json.loads((out / "settings.json").read_text())
    assert len(settings["methods"]["ours"]["sha256"]) == 64 and settings["software"]["acuity"]
    assert list(settings["degradations"]) == ["x2", "slices-3mm"]
    assert not list(out.rglob("partial-*"))


def test_of_some_sequences_the_first_is_pictured_without_t1c(data, models, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(super_resolution, "draw_volumes", lambda title, *_: titles.append(title))
    assert (
        main(
            [
                "evaluate",
                "volumes",
                "--data",
                str(data),
                "--models",
                str(models),
                "--output",
                str(tmp_path / "out"),
                "--case",
                "first",
                "--degradation",
                "x2",
                "--sequence",
                "FLAIR",
                "T1",
            ]
        )
        == 0
    )
    rows = read(tmp_path / "out" / "super_resolution.csv")
    assert [row["sequence"] for row in rows] == ["FLAIR", "FLAIR", "T1", "T1"]
    assert titles == ["x2: FLAIR, first"]


def test_a_kept_volume_lies_where_the_case_does(data, models, tmp_path, calls):
    evaluate(
        data=data,
        models=models,
        output=tmp_path / "out",
        cases=["first"],
        degradations=["slices-3mm"],
        keep={"slices-3mm": tmp_path / "kept"},
    )
    restored = brats.read_case(tmp_path / "kept" / "tricubic" / "first")
    for sequence, volume in brats.read_case(data / "first").items():
        assert restored[sequence].grid.same_as(volume.grid)
        errors = {
            shift: np.abs(np.roll(restored[sequence].array, shift, axis=2) - volume.array).mean()
            for shift in (-2, -1, 0, 1, 2)
        }
        assert min(errors, key=lambda shift: errors[shift]) == 0


def test_every_degradation_runs(data, models, tmp_path, calls):
    table = evaluate(data=data, models=models, output=tmp_path / "out", cases=["first"])
    rows = read(table)
    assert list(dict.fromkeys(r["degradation"] for r in rows)) == list(super_resolution.DEGRADATIONS)
    psnr = {r["degradation"]: float(r["psnr"]) for r in rows if (r["sequence"], r["method"]) == ("T1", "tricubic")}
    # The less is measured, the worse.
    assert psnr["x2"] > psnr["x4"]
    assert psnr["in-plane-x2"] > psnr["in-plane-x4"] > psnr["x4"]
    assert psnr["through-plane-x2"] > psnr["x2"]
    # The covered parts differ: 18, 20 and 18 slices.
    assert psnr["slices-3mm"] > psnr["slices-6mm"]


def test_super_resolution_is_told_the_slice_profile(data, models, tmp_path, monkeypatch):
    told = []

    def keep(volume, network, *, slice_profile, **options):
        told.append((tuple(volume.spacing), slice_profile))
        return super_resolve(volume, network, slice_profile=slice_profile, **options)

    monkeypatch.setattr(volume_methods, "super_resolve", keep)
    monkeypatch.setattr(super_resolution, "draw_volumes", lambda *_: None)

    def run() -> None:
        told.clear()
        evaluate(
            data=data,
            models=models,
            output=tmp_path / "out",
            cases=["first"],
            degradations=["through-plane-x2", "slices-5mm"],
        )

    run()
    assert told == [((1.0, 1.0, 2.0), "cubic"), ((1.0, 1.0, 5.0), "box")] * 4

    # What was measured under another profile is measured again.
    other = ThickSlices(5.0)
    object.__setattr__(other, "slice_profile", "cubic")
    monkeypatch.setitem(super_resolution.DEGRADATIONS, "slices-5mm", other)
    run()
    assert told == [((1.0, 1.0, 5.0), "cubic")] * 4
    run()
    assert told == []


def test_what_is_there_is_not_measured_again(data, models, tmp_path, calls):
    add_bundle(models, "other", spoilt=True)

    def run(**options) -> str:
        calls.clear()
        table = evaluate(
            data=data,
            models=models,
            output=tmp_path / "out",
            degradations=["x2"],
            **{"cases": ["first", "second"]} | options,
        )
        return table.read_text()

    first = run()
    assert calls == ["other", "ours"] * 8
    summary = (tmp_path / "out" / "super_resolution.md").read_text()
    assert run() == first and not calls
    assert (tmp_path / "out" / "super_resolution.md").read_text() == summary

    # Other weights, another image, a slice for the picture that is lost: only what hangs on it.
    add_bundle(models, "other")
    assert run() != first and calls == ["other"] * 8
    file = data / "second" / "second_t2.nii.gz"
    nib.save(nib.Nifti1Image(image(data, "second", "t2") * 2 + 1, np.diag([-1.0, -1.0, 1.0, 1.0])), file)
    run()
    assert calls == ["other", "ours"]
    (tmp_path / "out" / "slices" / "x2" / "ours.npz").unlink()
    run()
    assert calls == ["ours"]

    # Options make methods of their own, beside the others.
    rows = run(bundles={"mine": "ours"}, fusion=True, denoising="after", cases=["first"])
    assert calls == ["ours"] * 4 and "mine, fused, denoised after" in rows and ",other," in rows
    methods = json.loads((tmp_path / "out" / "settings.json").read_text())["methods"]
    assert list(methods) == ["tricubic", "other", "ours", "mine, fused, denoised after"]
    assert methods["mine, fused, denoised after"]["fusion"] is True

    # Kept volumes: those that are absent, then none.
    run(bundles={"ours": "ours"}, keep={"x2": tmp_path / "kept"}, cases=["first"])
    assert calls == ["ours"] * 4
    run(bundles={"ours": "ours"}, keep={"x2": tmp_path / "kept"}, cases=["first"])
    assert not calls


def test_a_cut_run_goes_on_after_the_last_case(data, models, tmp_path, calls, monkeypatch):
    measured = super_resolution.fidelity
    left = [8 + 3]

    def cut(*images):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return measured(*images)

    options = {
        "data": data,
        "models": models,
        "output": tmp_path / "out",
        "cases": ["first", "second"],
        "degradations": ["x2"],
    }
    with monkeypatch.context() as patch:
        patch.setattr(super_resolution, "fidelity", cut)
        with pytest.raises(KeyboardInterrupt):
            evaluate(**options)
    assert len(read(tmp_path / "out" / "super_resolution.csv")) == 8
    assert "first" in (tmp_path / "out" / "super_resolution.md").read_text()
    calls.clear()
    assert len(read(evaluate(**options))) == 16
    assert len(calls) == 4


def test_errors_have_their_exit_codes(data, models, tmp_path, capsys, monkeypatch):
    def refused(*options: str, data: Path = data, output: Path = tmp_path / "out") -> tuple[int, str]:
        arguments = ["--data", str(data), "--models", str(models), "--output", str(output), *options]
        return main(["evaluate", "volumes", *arguments]), capsys.readouterr().err

    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert refused(data=tmp_path / "nowhere")[0] == 70
    code, said = refused(data=tmp_path / "empty")
    assert code == 70 and "no case to measure on" in said
    code, said = refused("--case", "third")
    assert code == 70 and "holds no case third" in said and "first, second" in said
    code, said = refused("--bundle", "ours", "theirs")
    assert code == 50 and "theirs" in said and "was not found" in said
    add_network(
        models / "other",
        {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 3},
        torch.nn.Conv2d(1, 1, 3),
    )
    code, said = refused("--bundle", "other")
    assert code == 51 and "other does not super-resolve" in said
    code, said = refused(output=tmp_path / "file")
    assert code == 60 and "cannot be made a folder" in said
    (data / "first" / "first_t2.nii.gz").unlink()
    code, said = refused("--case", "first")
    assert code == 70 and "first_t2.nii.gz is missing" in said
    with pytest.raises(SystemExit) as stop:
        refused("--degradation", "x3")
    assert stop.value.code == 2 and "invalid choice: 'x3'" in capsys.readouterr().err
    with pytest.raises(DataError, match="x3 is no degradation. It is one of x2, x4"):
        evaluate(data=data, models=models, output=tmp_path / "out", cases=["second"], degradations=["x3"])  # type: ignore[list-item]


def test_bundles_that_do_not_super_resolve_are_passed_over(models, tmp_path):
    add_network(
        models / "other",
        {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 3},
        torch.nn.Conv2d(1, 1, 3),
    )
    assert [method.name for method in volume_methods.volume_methods(models, None)] == ["tricubic", "ours"]


def test_cases_of_training_are_left_out(data, monkeypatch):
    split = {"train": ["first"], "validation": [], "test": []}
    monkeypatch.setattr(brats, "read_split", lambda: split)
    assert unseen_cases(data) == ["second"]
    assert unseen_cases(data, ["second"]) == ["second"]
    with pytest.raises(DataError, match="first is for training or validation"):
        unseen_cases(data, ["second", "first"])
    split["validation"] = ["second"]
    with pytest.raises(DataError, match="no case to measure on"):
        unseen_cases(data)


def test_the_test_cases_are_those_of_the_split(shared_data):
    assert unseen_cases(shared_data / "brats") == sorted(brats.read_split()["test"])
