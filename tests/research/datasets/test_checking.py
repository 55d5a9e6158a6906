"""``acuity dataset check``: what it lists, and whether a training may start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acuity.cli import main
from tests.research.layouts import AFFINE, LAYOUTS, SHAPE, made_up, save, write_layout, write_one


def check(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["dataset", "check", "--json", str(folder)])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_can_be_trained_on_is_listed(tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = write_layout(layout, tmp_path)
    code, report = check(tmp_path, capsys)
    assert (code, report["may_train"], report["faults"]) == (0, True, [])
    assert [case["case"] for case in report["cases"]] == names
    labels = made_up(0)[1]
    for case in report["cases"]:
        assert case["shape"] == list(SHAPE) and case["spacing"] == [1, 1, 1] and case["faults"] == case["notes"] == []
        assert case["labels"] == {str(n): int((labels == n).sum()) for n in (0, 1, 2, 4)}
    assert [case["grade"] for case in report["cases"]] == (["high", "high", "low"] if layout == "2018" else [None] * 3)


def test_faults_are_listed_by_case_and_end_with_70(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = made_up(5)
    for seed, name in enumerate(("a_nan", "b_labels", "c_whole", "d_double", "e_no_t2")):
        write_one("2021", tmp_path, name, *made_up(seed))
    images[1, 4, 4, 4] = np.nan
    save(images[1], AFFINE, tmp_path / "a_nan" / "a_nan_t1ce.nii.gz")
    save(labels + 3, AFFINE, tmp_path / "b_labels" / "b_labels_seg.nii.gz")
    write_one("2020", tmp_path, "f_same", *made_up(2))
    save(made_up(3)[0][0], AFFINE, tmp_path / "d_double" / "d_double_t1.nii")
    (tmp_path / "e_no_t2" / "e_no_t2_t2.nii.gz").unlink()
    code, report = check(tmp_path, capsys)
    assert (code, report["may_train"]) == (70, False)
    assert {case["case"]: case["faults"] for case in report["cases"]} == {
        "a_nan": ["T1c of a_nan has values that are not finite."],
        "b_labels": ["The truth of b_labels has the labels 3, 4, 5, 7."],
        "c_whole": [],
        "d_double": ["d_double has a second file for the same image: d_double_t1.nii.gz."],
        "e_no_t2": ["e_no_t2 has no T2."],
        "f_same": ["Its images are those of c_whole."],
    }


def test_what_a_training_does_without_or_changes_is_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_one("2021", tmp_path, "large", *made_up(0), AFFINE @ np.diag([2.0, 2.0, 2.0, 1.0]))
    write_one("2021", tmp_path, "unknown", *made_up(1))
    (tmp_path / "unknown" / "unknown_seg.nii.gz").unlink()
    code, report = check(tmp_path, capsys)
    assert code == 0
    assert [case["notes"] for case in report["cases"]] == [
        ["Segmentation resamples it to 1 mm."],
        ["It has no truth: segmentation leaves it out."],
    ]


def test_folders_that_no_training_can_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = check(tmp_path, capsys)
    assert code == 70 and report["faults"][0].endswith("Task01.")
    (tmp_path / "1.dcm").write_bytes(bytes(128) + b"DICM")
    assert "It holds DICOM, which `acuity inspect`" in check(tmp_path, capsys)[1]["faults"][0]
    one, *others = write_layout("2018", tmp_path)
    shutil.copytree(tmp_path / "HGG" / one, tmp_path / "LGG" / one)
    code, report = check(tmp_path, capsys)
    assert code == 70 and "There are 2 cases of this name" in report["cases"][0]["faults"][0]
    for name in (tmp_path / "HGG", tmp_path / "LGG"):
        for case in others:
            shutil.rmtree(name / case, ignore_errors=True)
    shutil.rmtree(tmp_path / "LGG")
    code, report = check(tmp_path, capsys)
    assert code == 70 and report["faults"] == ["All cases are of one patient: none can be held out for validation."]
    assert main(["dataset", "check", str(tmp_path / "nowhere")]) == 70
    assert "nowhere, does not exist" in capsys.readouterr().err


def test_the_table_fits_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = write_layout("2023", tmp_path)
    save(np.zeros(SHAPE), AFFINE, tmp_path / names[1] / f"{names[1]}-t1n.nii.gz")
    capsys.readouterr()
    assert main(["dataset", "check", str(tmp_path)]) == 70
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert all(name in out for name in names) and "40x44x24" in out and "0 1 2 4" in out
    assert "everywhere" in out and out.endswith("3 cases, 1 with faults.\nA training may not start.\n")
