"""``acuity inspect`` and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import acuity
from acuity.cli import main
from tests.dicom_builder import oblique_affine, uid, write_mr_series
from tests.hospital import T2_TSE, SeriesSpec, brain, hospital_series, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    specs = hospital_series()
    specs[6].options = {"skip": (5,)}  # the SWI misses a slice
    return write_study(tmp_path_factory.mktemp("study"), specs)


def inspect_json(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
    assert main(["inspect", "--json", *words]) == code
    out, err = capsys.readouterr()
    return json.loads(out), err


def test_json(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, err = inspect_json(capsys, str(study))
    assert err == ""
    assert list(content) == ["series", "selection", "run"]
    for series in content["series"]:
        assert list(series) == [
            "series_uid",
            "number",
            "description",
            "modality",
            "verdict",
            "code",
            "reason",
            "volumes",
            "sequence",
        ]
        assert series["modality"] == "MR" and series["reason"]
    specs = hospital_series()
    assert [s["series_uid"] for s in content["series"]] == [spec.uid for spec in specs]
    assert [s["description"] for s in content["series"]] == [spec.name for spec in specs]
    sequences = [s["sequence"] for s in content["series"]]
    assert sequences == [None, "T1", None, None, None, "T2", None, "FLAIR", "T1c", None]
    refused = content["series"][6]
    assert (refused["verdict"], refused["code"], refused["volumes"]) == ("refused", "missing-slice", [])
    chosen = content["series"][1]
    assert (chosen["verdict"], chosen["code"]) == ("ok", "ok")
    (volume,) = chosen["volumes"]
    assert volume["shape"] == [24, 20, 12]


def test_json_geometry_is_what_simpleitk_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write_mr_series(tmp_path, brain(), oblique_affine())
    content, _ = inspect_json(capsys, str(tmp_path), code=30)
    image = sitk.ReadImage([str(p) for p in paths])
    (volume,) = content["series"][0]["volumes"]
    assert volume["shape"] == list(image.GetSize())
    for index in ((0, 0, 0), (23, 0, 0), (0, 19, 0), (0, 0, 11)):
        point = np.asarray(volume["affine"]) @ [*index, 1]
        assert np.allclose(point[:3], image.TransformIndexToPhysicalPoint(index), atol=1e-3)


def test_each_volume_of_a_series_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n, echo in enumerate((15, 95)):
        write_mr_series(
            tmp_path,
            brain(seed=n),
            oblique_affine(),
            series_uid=uid("dual"),
            prefix=f"echo{n}",
            first_instance=1 + 100 * n,
            RepetitionTime=4000,
            EchoTime=echo,
        )
    content, err = inspect_json(capsys, str(tmp_path), code=30)
    assert len(content["series"][0]["volumes"]) == 2
    assert content["series"][0]["sequence"] == "T2"
    assert err.startswith("acuity: no T1, T1c, FLAIR: missing-sequence: T1, T1c and FLAIR were not found among 1 ")
    assert err.count("\n") == 2 and "It would not run with --allow-missing either" in err


def test_a_missing_sequence_ends_as_a_run_would(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, [s for s in hospital_series() if s.number != 8])
    content, err = inspect_json(capsys, str(tmp_path), code=30)
    assert [s["sequence"] for s in content["series"]].count(None) == 6
    assert err.startswith("acuity: no FLAIR: missing-sequence: FLAIR was not found among 9 series: ")
    assert "It would not run with --allow-missing either: without FLAIR tumors are missed." in err

    assert content["selection"]["FLAIR"]["error"]["code"] == "missing-sequence"
    assert content["selection"]["T2"]["evidence"] == "header"
    assert content["run"]["exit_code"] == 30
    assert main(["inspect", str(tmp_path)]) == 30
    out, _ = capsys.readouterr()
    assert "FLAIR none (missing-sequence)\n" in out
    assert "A run would end with 30 (missing-sequence).\n" in out


def test_how_sure_what_was_nearly_chosen_and_the_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, [*hospital_series(), SeriesSpec("AX T2 again", 11, T2_TSE)])
    content, _ = inspect_json(capsys, str(tmp_path))
    t1, t2 = content["selection"]["T1"], content["selection"]["T2"]
    assert t1["evidence"] == t2["evidence"] == "header"
    assert t1["margin"] >= t1["margin_needed"] and t2["margin"] is None
    assert t2["others"] == ["series 11 'AX T2 again', which has a later number"]
    # T1c has 24 x 20 x 12 voxels of 1 x 1 x 3 mm.
    assert content["run"]["cost"]["shape"] == [24, 20, 36]
    assert content["run"]["cost"]["spacing_mm"] == [1.0, 1.0, 1.0]
    assert main(["inspect", str(tmp_path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"T1 #2 'AX T1', by its header; T1 and T1c differ by {t1['margin']} points (3 are needed)." in text
    assert "T2 #6 'AX T2', by its header. Next best: series 11 'AX T2 again', which has a later number." in text
    assert "A run takes about 0 min 40 s and 1.9 GiB on 2 CPUs, for 24 x 20 x 36 voxels." in text


def test_it_says_what_would_run_if_it_were_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, [s for s in hospital_series() if s.number not in (2, 3, 6, 9, 10)])
    _, err = inspect_json(capsys, str(tmp_path), code=30)
    assert "It would run with --allow-missing on FLAIR. T1, T1c and T2 are missing." in err
    assert "not assessable without T1c" in err


def test_table(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(study)]) == 0
    out = capsys.readouterr().out
    for text in ("AX T2", "24 x 20 x 12", "1 x 1 x 3", "SE, TR 4500, TE 99 ms", "missing-slice", "FLAIR", "Not chosen"):
        assert text in out
    assert "Phantom" not in out  # the patient's name and ID
    assert max(map(len, out.splitlines())) <= 80
    for spec in hospital_series():  # what --series needs
        assert spec.uid in out and f"#{spec.number} " in out


def test_series_may_be_named(study: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sagittal, axial = hospital_series()[2], hospital_series()[1]
    content, _ = inspect_json(capsys, str(study), "--series", f"T1={sagittal.uid}")
    assert [s["description"] for s in content["series"] if s["sequence"] == "T1"] == ["SAG T1"]
    by_number, _ = inspect_json(capsys, str(study), "--series", "T1=#3")
    assert by_number == content
    rules = tmp_path / "rules.yaml"
    rules.write_text("series:\n  T1: {number: 3}\n", encoding="utf-8")
    content, _ = inspect_json(capsys, "--rules", str(rules), str(study))
    assert [s["description"] for s in content["series"] if s["sequence"] == "T1"] == ["SAG T1"]
    content, _ = inspect_json(capsys, "--rules", str(rules), "--series", f"t1={axial.uid}", str(study))
    assert content["series"][1]["sequence"] == "T1"


def test_errors_have_their_exit_codes_and_say_found_rule_remedy(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tmp_path / "nowhere")]) == 10
    assert f"STUDY, {tmp_path / 'nowhere'}, does not exist." in capsys.readouterr().err
    assert main(["inspect", str(tmp_path)]) == 11
    (tmp_path / "x_t1.nii.gz").touch()
    assert main(["inspect", str(tmp_path)]) == 11
    assert "There is no DICOM file, but 1 NIfTI file" in capsys.readouterr().err
    assert main(["inspect", "--series", "T2=#77", str(study)]) == 32
    assert "T2 is named by #77, and 0 series of the study have that number." in capsys.readouterr().err
    assert main(["inspect", "--json", "--series", "T2=1.2.3", str(study)]) == 32
    out, err = capsys.readouterr()
    assert out == ""
    first, *rest = err.splitlines()
    assert first == "acuity: invalid-rules: T2 is named by UID 1.2.3, and no series of the study match."
    assert [line.split(":")[0] for line in rest] == ["  rule", "  remedy"]


@pytest.mark.parametrize(
    "words", [["inspect", "--series", "T5=1.2", "x"], ["inspect", "--series", "T1", "x"], [], ["nothing"]]
)
def test_a_wrong_command_line_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: acuity" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words, text in (
        (["--version"], acuity.__version__),
        (["--help"], "inspect"),
        (["inspect", "--help"], "--rules FILE"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
        assert text in capsys.readouterr().out


def test_verbose_lists_what_was_passed_over(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_study(tmp_path, hospital_series())
    (folder / "readme.txt").write_text("hello", encoding="utf-8")
    assert main(["inspect", "-v", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert "1 files were passed over (-v lists them)." in out
    assert "passed over readme.txt" in err
