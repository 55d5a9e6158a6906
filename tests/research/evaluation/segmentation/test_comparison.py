"""Segmentations on several kinds of input, by models whose answers are known."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from acuity.anatomy import Sequence, labels_to_regions, regions_to_labels
from acuity.cli import main
from acuity.commands import evaluate_segmentation
from acuity.errors import BundleError, BundleNotFoundError, DataError
from acuity.models.segmentation import SegmentationResult
from acuity.networks.cascade import CoarseToFine
from acuity.research.datasets.brats import FILE_SUFFIX
from acuity.research.evaluation.segmentation import comparison as segmentation
from acuity.research.evaluation.segmentation.comparison import evaluate, grade_of
from acuity.research.evaluation.segmentation.models import SegmentationModel, bundle_model, bundle_models, trained_model
from acuity.research.metrics.overlap import Overlap, dice, jaccard
from acuity.volume import Volume
from tests.research.evaluation.volumes.test_comparison import add_bundle, add_network

SHAPE = (24, 20, 12)
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])  # RAS; slices of 2 mm
COLUMNS = [
    "case",
    "model",
    "input",
    "grade",
    "region",
    "dsc",
    "iou",
    "hd95_mm",
    "dsc_paper",
    "iou_paper",
    "hd95_mm_paper",
    "volume_ml",
    "true_volume_ml",
    "expected_dsc",
    "seconds",
    "made_from",
]
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
    (folder / name).mkdir(parents=True)
    for sequence, bright in {Sequence.T1: wt, Sequence.T1C: et, Sequence.T2: tc, Sequence.FLAIR: wt}.items():
        image = np.zeros(SHAPE, np.float32)
        image[2:-2, 2:-2, 1:-1] = 100
        image[bright] = 200
        nib.save(nib.Nifti1Image(image, AFFINE), folder / name / f"{name}_{FILE_SUFFIX[sequence]}.nii.gz")
    nib.save(nib.Nifti1Image(truth, AFFINE), folder / name / f"{name}_seg.nii.gz")


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
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that are asked; no pictures are drawn and no distances measured, which takes seconds."""
    for name in ("draw_outlines", "draw_means", "draw_reliability"):
        monkeypatch.setattr(segmentation, name, lambda *_: None)
    monkeypatch.setattr(segmentation, "brats_overlap", lambda p, t, spacing: Overlap(dice(p, t), jaccard(p, t), 0.0))
    return []


def counted(name: str, calls: list[str], version: int = 1) -> SegmentationModel:
    def run(volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
        calls.append(name)
        return bright(volumes, brain)

    return SegmentationModel(name, run, {"version": version})


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_writes_everything(data, tmp_path, capsys, monkeypatch):
    blind = SegmentationModel("blind", lambda volumes, brain: bright({}, brain), {})
    monkeypatch.setattr(
        evaluate_segmentation, "bundle_models", lambda *_: [SegmentationModel("bright", bright, {"version": 1}), blind]
    )
    out = tmp_path / "out"
    assert (
        main(
            [
                "evaluate",
                "seg",
                "--data",
                str(data),
                "--models",
                str(tmp_path),
                "--output",
                str(out),
                "--input",
                f"moved={tmp_path / 'moved'}",
                "-v",
            ]
        )
        == 0
    )
    said = capsys.readouterr()
    assert (out / "segmentation.md").read_text() in said.out and "segmentation: 100%" in said.err
    rows = read(out / "segmentation.csv")
    assert list(rows[0]) == COLUMNS
    assert len(rows) == 2 * 2 * 2 * 3
    by = {(r["case"], r["model"], r["input"], r["region"]): r for r in rows}
    for region in ("ET", "TC", "WT"):
        perfect = by[HIGH_GRADE, "bright", "HR", region]
        assert [perfect[name] for name in COLUMNS[5:11]] == ["1", "1", "0", "1", "1", "0"]
        assert perfect["volume_ml"] == perfect["true_volume_ml"]
        assert float(perfect["expected_dsc"]) == pytest.approx(2 * 0.95 / (0.95 + 1), abs=1e-4)  # 0.95 where it is
    # 8 x 8 x 6 voxels of 2 mm^3, moved by one of the eight along j, which is 1 mm
    moved = by[HIGH_GRADE, "bright", "moved", "WT"]
    assert float(moved["true_volume_ml"]) == pytest.approx(0.768)
    assert float(moved["dsc"]) == pytest.approx(7 / 8) and float(moved["iou"]) == pytest.approx(7 / 9, abs=1e-5)
    assert float(moved["hd95_mm"]) == pytest.approx(1)
    # Not there, and not found: perfect by BraTS's rule, not defined by the other.
    absent = by[LOW_GRADE, "bright", "HR", "ET"]
    assert [absent[name] for name in COLUMNS[5:11]] == ["1", "1", "0", "", "", ""] and absent["grade"] == "low"
    # There, and not found.
    missed = by[HIGH_GRADE, "blind", "HR", "ET"]
    assert [missed[name] for name in COLUMNS[5:11]] == ["0", "0", "373.129", "0", "0", ""]
    assert missed["grade"] == "high" and missed["expected_dsc"] == ""

    # Probabilities of 0.95 where all is in the region: 0.05 too low, but for what moved out of it.
    bins = [r for r in read(out / "calibration.csv") if (r["case"], r["region"]) == (HIGH_GRADE, "WT")]
    voxels = {(r["model"], r["input"]): (int(r["voxels"]), int(r["positives"])) for r in bins if r["bin"] == "9"}
    assert voxels["bright", "HR"] == (384, 384) and voxels["bright", "moved"] == (384, 336)
    assert voxels["blind", "HR"] == (0, 0)
    table = (out / "segmentation.md").read_text()
    assert "| bright | moved | " in table and "none is called real" in table and "373.13 mm" in table
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
    monkeypatch.setattr(evaluate_segmentation, "bundle_models", lambda *_: [counted("bright", calls)])
    out = tmp_path / "out"
    for missing in ([], ["--missing", "T1c", "T1"]):
        assert (
            main(
                [
                    "evaluate",
                    "seg",
                    "--data",
                    str(data),
                    "--models",
                    str(tmp_path),
                    "--output",
                    str(out),
                    "--case",
                    HIGH_GRADE,
                    *missing,
                ]
            )
            == 0
        )
    found = {(r["input"], r["region"]): r["dsc"] for r in read(out / "segmentation.csv")}
    assert found == {
        ("HR", "ET"): "1",
        ("HR", "TC"): "1",
        ("HR", "WT"): "1",
        ("HR without T1, T1c", "ET"): "0",
        ("HR without T1, T1c", "TC"): "1",
        ("HR without T1, T1c", "WT"): "1",
    }
    assert "| bright | HR without T1, T1c | -1.000 (one case)" in capsys.readouterr().out
    settings = json.loads((out / "settings.json").read_text())
    assert settings["inputs"]["HR without T1, T1c"]["missing"] == ["T1", "T1c"]


def test_every_model_is_given_the_brain_of_the_inputs_images(data, tmp_path, calls):
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

    table = evaluate(
        data=data,
        output=tmp_path / "out",
        cases=[HIGH_GRADE],
        models=[SegmentationModel("a", run, {})],
        inputs={"understripped": tmp_path / "understripped"},
        missing=[Sequence.T2],
    )
    assert [int(brain.sum()) for brain in given] == [20 * 16 * 10, 20 * 16 * 10 + 20 * 12]
    assert given[1][1].all() and not given[0][1].any()
    bins = [int(row["voxels"]) for row in read(table.with_name("calibration.csv")) if row["voxels"] != "0"]
    assert bins == [3200] * 3 + [3440] * 3


def test_images_that_are_not_stripped_are_refused(data, tmp_path, calls):
    add_case(tmp_path / "raw", HIGH_GRADE)
    path = tmp_path / "raw" / HIGH_GRADE / f"{HIGH_GRADE}_t2.nii.gz"
    nib.save(nib.Nifti1Image(np.full(SHAPE, 50, np.float32), AFFINE), path)
    with pytest.raises(DataError, match=r"raw 1\.80 times as many voxels have signal.*Images are 0 outside the brain"):
        evaluate(
            data=data,
            output=tmp_path / "out",
            cases=[HIGH_GRADE],
            models=[counted("a", calls)],
            inputs={"raw": tmp_path / "raw"},
        )


def test_a_truth_without_tumor_is_pictured_and_its_false_volume_told(data, tmp_path, monkeypatch):
    """The middle slice is shown; what was found counts in ml."""
    truth = data / LOW_GRADE / f"{LOW_GRADE}_seg.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE), truth)
    monkeypatch.setattr(segmentation, "brats_overlap", lambda p, t, spacing: Overlap(dice(p, t), jaccard(p, t), 0.0))
    blind = SegmentationModel("blind", lambda volumes, brain: bright({}, brain), {})
    table = evaluate(
        data=data,
        output=tmp_path / "out",
        cases=[HIGH_GRADE, LOW_GRADE],
        models=[SegmentationModel("bright", bright, {}), blind],
    )
    text = table.with_suffix(".md").read_text()
    # 8 x 8 x 6 voxels of 2 mm^3
    assert "| bright | HR | 1 | 0.768 | 0.768 | 1 |" in text and "| blind | HR | 1 | 0.000 | 0.000 | 0 |" in text
    slices = np.load(tmp_path / "out" / "slices" / "HR" / "bright" / f"{LOW_GRADE}.npz")
    assert not slices["truth"].any()
    flair = nib.load(data / LOW_GRADE / f"{LOW_GRADE}_flair.nii.gz").get_fdata()
    assert sorted(slices["FLAIR"].ravel()) == sorted(flair[:, :, SHAPE[2] // 2].ravel())
    with Image.open(tmp_path / "out" / "panels" / f"{LOW_GRADE}.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def test_what_is_there_is_not_measured_again(data, tmp_path, calls):
    def run(version: int = 1, **options) -> str:
        calls.clear()
        models = [counted("a", calls), counted("b", calls, version)]
        common = {
            "data": data,
            "output": tmp_path / "out",
            "cases": [HIGH_GRADE, LOW_GRADE],
            "models": models,
            "inputs": {"moved": tmp_path / "moved"},
        }
        return evaluate(**common | options).read_text()

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


def test_a_cut_run_goes_on_where_it_ended(data, tmp_path, calls):
    def cut(volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
        calls.append("cut")
        if len(calls) > 2:
            raise KeyboardInterrupt
        return bright(volumes, brain)

    options = {
        "data": data,
        "output": tmp_path / "out",
        "cases": [HIGH_GRADE, LOW_GRADE],
        "inputs": {"moved": tmp_path / "moved"},
    }
    with pytest.raises(KeyboardInterrupt):
        evaluate(**options, models=[SegmentationModel("a", cut, {"version": 1})])
    assert len(read(tmp_path / "out" / "segmentation.csv")) == 2 * 3
    calls.clear()
    assert len(read(evaluate(**options, models=[counted("a", calls)]))) == 4 * 3
    assert len(calls) == 2


def test_how_an_input_was_made_is_kept(data, tmp_path, calls):
    assert main(["dataset", "interpolated", "--data", str(data), "--output", str(tmp_path / "lr")]) == 0
    evaluate(
        data=data,
        output=tmp_path / "out",
        cases=[HIGH_GRADE],
        models=[counted("a", calls)],
        inputs={"tricubic": tmp_path / "lr"},
    )
    made = json.loads((tmp_path / "out" / "settings.json").read_text())["inputs"]
    assert made["HR"]["made"] is None and made["tricubic"]["made"]["kind"] == "interpolated"
    rows = {(r["input"], r["region"]): float(r["dsc"]) for r in read(tmp_path / "out" / "segmentation.csv")}
    assert 0.5 < rows["tricubic", "WT"] <= rows["HR", "WT"] == 1


def test_refusals_say_what_is_wrong(data, tmp_path, calls, capsys):
    def refused(match: str, **options) -> None:
        common = {"data": data, "output": tmp_path / "out", "cases": [HIGH_GRADE], "models": [counted("a", calls)]}
        with pytest.raises(DataError, match=match):
            evaluate(**common | options)

    assert main(["dataset", "lr", "--data", str(data), "--output", str(tmp_path / "lr")]) == 0
    capsys.readouterr()
    refused("T1 of .* has another grid than the truth.*`acuity dataset interpolated`", inputs={"LR": tmp_path / "lr"})
    refused("is missing", cases=["third"])
    refused("Two models are named a", models=[counted("a", calls)] * 2)
    refused("No model is given", models=[])
    refused("An input is named HR", inputs={"HR": data})
    refused("T1, T1c, T2, FLAIR are missing", missing=list(Sequence))
    refused("The folder of BraTS cases is .*nowhere", inputs={"x": tmp_path / "nowhere"})

    def command(*options: str) -> tuple[int, str]:
        code = main(["evaluate", "seg", "--data", str(data), "--output", str(tmp_path / "out"), *options])
        return code, capsys.readouterr().err

    code, said = command("--bundle", "brain")
    assert code == 70 and "no folder of bundles" in said
    code, said = command("--input", "x=a", "x=b")
    assert code == 70 and "Two inputs share a name" in said
    for option, message in (
        (["--weights", "a=b"], "'a=b' is not NAME=RECIPE:FILE"),
        (["--forest", "file.npz"], "'file.npz' is not NAME=FILE"),
        (["--missing", "T3"], "T3"),
    ):
        with pytest.raises(SystemExit) as stop:
            command(*option)
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
    with pytest.raises(BundleError, match="sharper does not segment"):
        bundle_model(tmp_path, "sharper")
    with pytest.raises(DataError):
        trained_model("mine", "equiunet", tmp_path / "absent.pt")


def test_grades_are_those_of_the_split():
    assert [grade_of(case) for case in (LOW_GRADE, HIGH_GRADE, "other")] == ["low", "high", "unknown"]
