"""Segmentations on several kinds of input, by models whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from acuity.anatomy import Sequence, labels_to_regions, regions_to_labels
from acuity.cli import main
from acuity.errors import BundleError, BundleNotFoundError, DataError
from acuity.models.segmentation import SegmentationResult
from acuity.networks.cascade import CoarseToFine
from acuity.research.evaluation.cases import grade_of
from acuity.research.evaluation.segmentation import comparison, models
from acuity.research.evaluation.segmentation.comparison import evaluate
from acuity.research.evaluation.segmentation.models import SegmentationModel, bundle_model, bundle_models, trained_model
from acuity.research.metrics.lesions import LesionOverlap
from acuity.research.metrics.overlap import Overlap, dice, jaccard
from acuity.volume import Volume
from tests.research.cases import write_case
from tests.research.evaluation.bundles import add_bundle, add_network

SHAPE = (24, 20, 12)
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])  # RAS; slices of 2 mm
OVERLAPS = ["dsc", "iou", "hd95_mm", "dsc_paper", "iou_paper", "hd95_mm_paper"]
VOLUMES = ["volume_ml", "true_volume_ml", "expected_dsc"]
LESIONS = ["lesion_dsc", "lesions_missed", "lesions_false", "nsd"]
COLUMNS = ["case", "model", "input", "grade", "region", *OVERLAPS, *LESIONS, *VOLUMES, "seconds", "made_from"]
LOW_GRADE, HIGH_GRADE = "Brats18_TCIA10_628_1", "Brats18_CBICA_ARZ_1"  # of the fixed split


def labels(*, enhancing: bool) -> np.ndarray:
    found = np.zeros(SHAPE, np.uint8)
    found[6:14, 5:13, 3:9] = 2
    found[8:12, 7:11, 4:8] = 1
    if enhancing:
        found[8:12, 7:11, 4:6] = 4
    return found


def add_case(folder: Path, name: str, *, enhancing: bool = True, shift: int = 0) -> None:
    """T1c, T2 and FLAIR are bright where ET, TC and WT are, ``shift`` voxels further along j; all else is even."""
    truth = labels(enhancing=enhancing)
    et, tc, wt = labels_to_regions(np.roll(truth, shift, axis=1))
    images = {}
    for sequence, bright in {Sequence.T1: wt, Sequence.T1C: et, Sequence.T2: tc, Sequence.FLAIR: wt}.items():
        image = np.zeros(SHAPE, np.float32)
        image[2:-2, 2:-2, 1:-1] = 100
        image[bright] = 200
        images[sequence] = image
    write_case(folder, name, images, truth, AFFINE)


def bright(volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
    """What is bright in T1c, T2 and FLAIR is ET, TC and WT; nothing where a sequence is missing."""
    assert brain.array.sum() == 20 * 16 * 10
    regions = np.stack(
        [
            volumes[s].array > 150 if s in volumes else np.zeros(brain.shape, bool)
            for s in (Sequence.T1C, Sequence.T2, Sequence.FLAIR)
        ]
    )
    return SegmentationResult(brain.with_array(regions_to_labels(regions)), np.where(regions, 0.95, 0).astype("f4"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    add_case(tmp_path / "data", HIGH_GRADE)
    add_case(tmp_path / "data", LOW_GRADE, enhancing=False)
    add_case(tmp_path / "moved", HIGH_GRADE, shift=1)
    add_case(tmp_path / "moved", LOW_GRADE, enhancing=False, shift=1)
    return tmp_path / "data"


@pytest.fixture
def measure(data: Path, tmp_path: Path) -> partial[Path]:
    """``evaluate`` of the case of high grade."""
    return partial(evaluate, data=data, output=tmp_path / "out", cases=[HIGH_GRADE])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that are asked; no pictures are drawn and no distances measured, which takes seconds."""
    for name in ("draw_outlines", "draw_means", "draw_reliability"):
        monkeypatch.setattr(comparison, name, lambda *_: None)
    monkeypatch.setattr(comparison, "brats_overlap", lambda p, t, spacing: Overlap(dice(p, t), jaccard(p, t), 0.0))
    monkeypatch.setattr(comparison, "lesion_overlap", lambda p, t, spacing: LesionOverlap(dice(p, t), 0, 0, 0.0))
    return []


def counted(name: str, calls: list[str], version: int = 1) -> SegmentationModel:
    def run(volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
        calls.append(name)
        return bright(volumes, brain)

    return SegmentationModel(name, run, {"version": version})


def by(table: Path, *keys: str) -> dict:
    """Rows of a CSV by the values of columns."""
    return {tuple(row[key] for key in keys): row for row in pd.read_csv(table).to_dict("records")}


def command(data: Path, output: Path, *options: str) -> int:
    return main(["evaluate", "seg", "--data", str(data), "--output", str(output), *options])


def test_the_command_writes_everything(data, tmp_path, capsys, monkeypatch):
    blind = SegmentationModel("blind", lambda volumes, brain: bright({}, brain), {})
    found = [SegmentationModel("bright", bright, {"version": 1}), blind]
    monkeypatch.setattr(models, "bundle_models", lambda *_: found)
    out = tmp_path / "out"
    assert command(data, out, "--models", str(tmp_path), "--input", f"moved={tmp_path / 'moved'}", "-v") == 0
    said = capsys.readouterr()
    assert (out / "segmentation.md").read_text() in said.out and "segmentation: 100%" in said.err
    rows = by(out / "segmentation.csv", "case", "model", "input", "region")
    assert all(list(row) == COLUMNS for row in rows.values()) and len(rows) == 2 * 2 * 2 * 3
    for region in ("ET", "TC", "WT"):
        perfect = rows[HIGH_GRADE, "bright", "HR", region]
        assert [perfect[name] for name in OVERLAPS] == [1, 1, 0, 1, 1, 0]
        assert perfect["volume_ml"] == perfect["true_volume_ml"]
        assert perfect["expected_dsc"] == pytest.approx(2 * 0.95 / (0.95 + 1), abs=1e-4)  # 0.95 where it is
    # 8 x 8 x 6 voxels of 2 mm^3, moved by one of the eight along j, which is 1 mm
    moved = rows[HIGH_GRADE, "bright", "moved", "WT"]
    assert [moved[name] for name in ("true_volume_ml", "dsc", "iou", "hd95_mm")] == pytest.approx(
        [0.768, 7 / 8, 7 / 9, 1], abs=1e-5
    )
    # Not there, and not found: perfect by BraTS's rule, not defined by the other.
    absent = rows[LOW_GRADE, "bright", "HR", "ET"]
    assert [absent[name] for name in OVERLAPS] == pytest.approx([1, 1, 0, *[np.nan] * 3], nan_ok=True)
    # There, and not found.
    missed = rows[HIGH_GRADE, "blind", "HR", "ET"]
    assert [missed[name] for name in OVERLAPS] == pytest.approx([0, 0, 373.129, 0, 0, np.nan], nan_ok=True)
    assert [missed[name] for name in LESIONS] == [0, 1, 0, 0]
    assert (absent["grade"], missed["grade"]) == ("low", "high") and np.isnan(missed["expected_dsc"])

    # Probabilities of 0.95 where all is in the region: 0.05 too low, but for what moved out of it.
    last = by(out / "calibration.csv", "case", "region", "model", "input", "bin")
    for model, kind, counts in (("bright", "HR", (384, 384)), ("bright", "moved", (384, 336)), ("blind", "HR", (0, 0))):
        found = last[HIGH_GRADE, "WT", model, kind, 9]
        assert (found["voxels"], found["positives"]) == counts
    table = (out / "segmentation.md").read_text()
    assert "| bright | moved | " in table and "too few cases, n = 2" in table and "373.13 mm" in table
    assert "| bright | HR | 0.050 | 0.050 | 0.050 |" in table
    for name in ("dice.png", "reliability.png", f"panels/{HIGH_GRADE}.png", f"panels/{LOW_GRADE}.png"):
        with Image.open(out / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5
    settings = json.loads((out / "settings.json").read_text())
    assert list(settings["models"]) == ["bright", "blind"] and list(settings["inputs"]) == ["HR", "moved"]
    assert settings["models"]["bright"] == {"version": 1} and settings["software"]["acuity"]
    assert not list(out.rglob("partial-*"))


def test_sequences_are_kept_from_the_models(data, tmp_path, calls, capsys, monkeypatch):
    """Their rows stand beside the others, of an input that says so."""
    monkeypatch.setattr(models, "bundle_models", lambda *_: [counted("bright", calls)])
    out = tmp_path / "out"
    for missing in ([], ["--missing", "T1c", "T1"]):
        assert command(data, out, "--models", str(tmp_path), "--case", HIGH_GRADE, *missing) == 0
    found = {key: row["dsc"] for key, row in by(out / "segmentation.csv", "input", "region").items()}
    kinds = ("HR", "HR without T1, T1c")
    assert found == {(kind, region): 1 for kind in kinds for region in ("ET", "TC", "WT")} | {(kinds[1], "ET"): 0}
    assert "| bright | HR without T1, T1c | -1.000 (one case)" in capsys.readouterr().out
    settings = json.loads((out / "settings.json").read_text())
    assert settings["inputs"]["HR without T1, T1c"]["missing"] == ["T1", "T1c"]


def test_every_model_is_given_the_brain_of_the_inputs_images(measure, tmp_path, calls):
    """As it was stripped, well or badly: calibration counts its voxels."""
    folder = tmp_path / "understripped" / HIGH_GRADE
    add_case(tmp_path / "understripped", HIGH_GRADE)
    path = folder / f"{HIGH_GRADE}_t2.nii.gz"
    image = nib.load(path).get_fdata(dtype=np.float32)
    image[1] = 50  # a layer of what lies round the brain
    nib.save(nib.Nifti1Image(image, AFFINE), path)
    given = []

    def run(volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
        given.append(brain.array)
        return SegmentationResult(brain.with_array(np.zeros(SHAPE, np.uint8)), np.full((3, *SHAPE), 0.5, np.float32))

    inputs = {"understripped": tmp_path / "understripped"}
    table = measure(models=[SegmentationModel("a", run, {})], inputs=inputs, missing=[Sequence.T2])
    assert [int(brain.sum()) for brain in given] == [20 * 16 * 10, 20 * 16 * 10 + 20 * 12]
    assert given[1][1].all() and not given[0][1].any()
    voxels = pd.read_csv(table.with_name("calibration.csv"))["voxels"]
    assert voxels[voxels > 0].tolist() == [3200] * 3 + [3440] * 3


def test_images_that_are_not_stripped_are_refused(measure, tmp_path, calls):
    add_case(tmp_path / "raw", HIGH_GRADE)
    path = tmp_path / "raw" / HIGH_GRADE / f"{HIGH_GRADE}_t2.nii.gz"
    nib.save(nib.Nifti1Image(np.full(SHAPE, 50, np.float32), AFFINE), path)
    with pytest.raises(DataError, match=r"raw 1\.80 times as many voxels have signal.*Images are 0 outside the brain"):
        measure(models=[counted("a", calls)], inputs={"raw": tmp_path / "raw"})


def test_a_truth_without_tumor_is_pictured_and_its_false_volume_told(data, measure, tmp_path, monkeypatch):
    """The middle slice is shown; what was found counts in ml."""
    truth = data / LOW_GRADE / f"{LOW_GRADE}_seg.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE), truth)
    monkeypatch.setattr(comparison, "brats_overlap", lambda p, t, spacing: Overlap(dice(p, t), jaccard(p, t), 0.0))
    monkeypatch.setattr(comparison, "lesion_overlap", lambda p, t, spacing: LesionOverlap(dice(p, t), 0, 0, 0.0))
    blind = SegmentationModel("blind", lambda volumes, brain: bright({}, brain), {})
    table = measure(cases=[HIGH_GRADE, LOW_GRADE], models=[SegmentationModel("bright", bright, {}), blind])
    text = table.with_suffix(".md").read_text()
    # 8 x 8 x 6 voxels of 2 mm^3
    assert "| bright | HR | 1 | 0.768 | 0.768 | 1 |" in text and "| blind | HR | 1 | 0.000 | 0.000 | 0 |" in text
    slices = np.load(tmp_path / "out" / "slices" / "HR" / "bright" / f"{LOW_GRADE}.npz")
    assert not slices["truth"].any()
    flair = nib.load(data / LOW_GRADE / f"{LOW_GRADE}_flair.nii.gz").get_fdata()
    assert sorted(slices["FLAIR"].ravel()) == sorted(flair[:, :, SHAPE[2] // 2].ravel())
    with Image.open(tmp_path / "out" / "panels" / f"{LOW_GRADE}.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def test_what_is_there_is_not_measured_again(data, measure, tmp_path, calls):
    def run(version: int = 1, **options) -> str:
        calls.clear()
        models = [counted("a", calls), counted("b", calls, version)]
        common = {"cases": [HIGH_GRADE, LOW_GRADE], "inputs": {"moved": tmp_path / "moved"}}
        return measure(models=models, **common | options).read_text()

    first = run()
    assert calls == ["a", "b"] * 4
    summary = (tmp_path / "out" / "segmentation.md").read_text()
    assert run() == first and not calls
    assert (tmp_path / "out" / "segmentation.md").read_text() == summary

    # Another model, another image, slices for the picture and rows that are lost: only what hangs on it.
    run(version=2)
    assert calls == ["b"] * 4
    add = tmp_path / "moved" / LOW_GRADE / f"{LOW_GRADE}_t2.nii.gz"
    nib.save(nib.Nifti1Image(nib.load(add).get_fdata(dtype=np.float32) * 1.1, AFFINE), add)
    run(version=2)
    assert calls == ["a", "b"]
    (tmp_path / "out" / "slices" / "moved" / "a" / f"{HIGH_GRADE}.npz").unlink()
    run(version=2)
    assert calls == ["a"]
    kept = [
        line
        for line in (tmp_path / "out" / "calibration.csv").read_text().splitlines()
        if not line.startswith(f"{LOW_GRADE},b,HR,")
    ]
    (tmp_path / "out" / "calibration.csv").write_text("\n".join(kept) + "\n")
    run(version=2)
    assert calls == ["b"]
    # Another truth: all of its case.
    truth = data / HIGH_GRADE / f"{HIGH_GRADE}_seg.nii.gz"
    nib.save(nib.Nifti1Image(np.roll(labels(enhancing=True), 1, axis=0), AFFINE), truth)
    run(version=2)
    assert calls == ["a", "b"] * 2
    # What a run does not ask for stays.
    assert run(version=2, cases=[LOW_GRADE], inputs={}).count("\n") == 1 + 8 * 3 and not calls


def test_a_cut_run_goes_on_where_it_ended(measure, tmp_path, calls):
    def cut(volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
        calls.append("cut")
        if len(calls) > 2:
            raise KeyboardInterrupt
        return bright(volumes, brain)

    options = {"cases": [HIGH_GRADE, LOW_GRADE], "inputs": {"moved": tmp_path / "moved"}}
    with pytest.raises(KeyboardInterrupt):
        measure(**options, models=[SegmentationModel("a", cut, {"version": 1})])
    assert len(pd.read_csv(tmp_path / "out" / "segmentation.csv")) == 2 * 3
    calls.clear()
    assert len(pd.read_csv(measure(**options, models=[counted("a", calls)]))) == 4 * 3
    assert len(calls) == 2


def test_how_an_input_was_made_is_kept(data, measure, tmp_path, calls):
    assert main(["dataset", "interpolated", "--data", str(data), "--output", str(tmp_path / "lr")]) == 0
    measure(models=[counted("a", calls)], inputs={"tricubic": tmp_path / "lr"})
    made = json.loads((tmp_path / "out" / "settings.json").read_text())["inputs"]
    assert made["HR"]["made"] is None and made["tricubic"]["made"]["kind"] == "interpolated"
    rows = by(tmp_path / "out" / "segmentation.csv", "input", "region")
    assert 0.5 < rows["tricubic", "WT"]["dsc"] <= rows["HR", "WT"]["dsc"] == 1


def test_refusals_say_what_is_wrong(data, measure, tmp_path, calls, capsys):
    def refused(match: str, **options) -> None:
        with pytest.raises(DataError, match=match):
            measure(**{"models": [counted("a", calls)]} | options)

    assert main(["dataset", "lr", "--data", str(data), "--output", str(tmp_path / "lr")]) == 0
    capsys.readouterr()
    refused("T1 of .* has another grid than the truth.*`acuity dataset interpolated`", inputs={"LR": tmp_path / "lr"})
    refused("holds no case third", cases=["third"])
    refused("Two models are named a", models=[counted("a", calls)] * 2)
    refused("No model is given", models=[])
    refused("An input is named HR", inputs={"HR": data})
    refused("T1, T1c, T2, FLAIR are missing", missing=list(Sequence))
    refused("The folder of data, .*nowhere, does not exist", inputs={"x": tmp_path / "nowhere"})

    for options, message in (
        (["--bundle", "brain"], "no folder of bundles"),
        (["--input", "x=a", "x=b"], "Two inputs share a name"),
    ):
        assert command(data, tmp_path / "out", *options) == 70 and message in capsys.readouterr().err
    for options, message in (
        (["--weights", "a=b"], "'a=b' is not NAME=RECIPE:FILE"),
        (["--forest", "file.npz"], "'file.npz' is not NAME=FILE"),
        (["--missing", "T3"], "T3"),
    ):
        with pytest.raises(SystemExit) as stop:
            command(data, tmp_path / "out", *options)
        assert stop.value.code == 2 and message in capsys.readouterr().err


def test_bundles_that_segment_are_found(tmp_path):
    add_bundle(tmp_path, "sharper")
    with pytest.raises(BundleNotFoundError, match="holds no bundle that segments"):
        bundle_models(tmp_path, None)
    torch.manual_seed(0)
    stage = {"_target_": "torch.nn.Conv3d", "in_channels": 4, "out_channels": 3, "kernel_size": 1}
    definition: dict[str, object] = {"_target_": "acuity.networks.cascade.CoarseToFine", "coarse": stage, "fine": stage}
    network = CoarseToFine(torch.nn.Conv3d(4, 3, 1), torch.nn.Conv3d(4, 3, 1))
    add_network(tmp_path / "finder", definition, network)
    (model,) = bundle_models(tmp_path, None)
    assert model.name == "finder" and model.origin["bundle"] == "finder" and len(str(model.origin["sha256"])) == 64
    with pytest.raises(BundleError, match="sharper is none that segments"):
        bundle_model(tmp_path, "sharper")
    with pytest.raises(DataError):
        trained_model("mine", "equiunet", tmp_path / "absent.pt")


def test_grades_are_those_of_the_split():
    assert [grade_of(case) for case in (LOW_GRADE, HIGH_GRADE, "other")] == ["low", "high", "unknown"]
