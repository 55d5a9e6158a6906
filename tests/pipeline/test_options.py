from __future__ import annotations

from pathlib import Path

import pytest

from acuity.anatomy import Sequence
from acuity.pipeline.options import parse_options


def test_flags() -> None:
    options = parse_options(["-i", "in", "-o", "out", "-m", "bundles", "-v"], environ={})
    assert (options.input, options.output, options.models) == (Path("in"), Path("out"), Path("bundles"))
    assert options.verbosity == 1
    assert options.spacing == (1.0, 1.0, 1.0)
    assert options.rules is None and not options.series
    assert options.denoising is None and options.fusion is False and options.allow_missing is False


def test_variables_take_the_place_of_flags() -> None:
    environ = {
        "HOLOSCAN_INPUT_PATH": "/i",
        "HOLOSCAN_OUTPUT_PATH": "/o",
        "HOLOSCAN_MODEL_PATH": "/m",
        "ACUITY_RULES": "/r.yaml",
        "ACUITY_SERIES": "T1=1.2 flair=1.3",
        "ACUITY_SPACING": "1,1,2",
        "ACUITY_DENOISE": "after",
        "ACUITY_FUSION": "1",
        "ACUITY_ALLOW_MISSING": "1",
    }
    options = parse_options([], environ=environ)
    assert [str(p) for p in (options.input, options.output, options.models, options.rules)] == [
        "/i",
        "/o",
        "/m",
        "/r.yaml",
    ]
    assert options.series == {Sequence.T1: "1.2", Sequence.FLAIR: "1.3"}
    assert options.spacing == (1.0, 1.0, 2.0)
    assert options.denoising == "after" and options.fusion is True and options.allow_missing is True


def test_flags_win_over_variables() -> None:
    environ = {
        "HOLOSCAN_INPUT_PATH": "/i",
        "ACUITY_SERIES": "T1=1.2",
        "ACUITY_SPACING": "2",
        "ACUITY_DENOISE": "after",
        "ACUITY_FUSION": "1",
    }
    argv = ["-i", "mine", "--series", "T2=9.9", "--spacing", "0.8", "--denoise", "before", "--no-fusion"]
    options = parse_options(argv, environ=environ)
    assert options.input == Path("mine")
    assert options.series == {Sequence.T2: "9.9"}
    assert options.spacing == (0.8, 0.8, 0.8)
    assert options.denoising == "before" and options.fusion is False
    assert parse_options(["--fusion"], environ={"ACUITY_FUSION": "0"}).fusion is True
    assert parse_options(["--allow-missing"], environ={"ACUITY_ALLOW_MISSING": "0"}).allow_missing is True
    assert parse_options(["--no-allow-missing"], environ={"ACUITY_ALLOW_MISSING": "1"}).allow_missing is False


def test_models_come_with_the_application_by_default(tmp_path: Path) -> None:
    assert parse_options([], environ={}, default_models=tmp_path).models == tmp_path


@pytest.mark.parametrize(
    ("argv", "environ", "message"),
    [
        (["--series", "PD=1.2"], {}, "'PD' is no sequence; write one of T1, T1c, T2, FLAIR"),
        (["--series", "T1"], {}, "no SeriesInstanceUID follows 'T1'"),
        (["--series", "T1=1", "--series", "T1=2"], {}, "one sequence is named twice"),
        (["--spacing", "1,1"], {}, "not one or three numbers between 0.25 and 10 mm"),
        (["--spacing", "nan"], {}, "not one or three numbers between"),
        (["--spacing", "one"], {}, "not one or three numbers of mm"),
        (["-v", "-q"], {}, "not allowed with"),
        ([], {"ACUITY_SERIES": "PD=1.2"}, "variable ACUITY_SERIES: 'PD' is no sequence"),
        ([], {"ACUITY_SPACING": "x"}, "argument --spacing: 'x'"),
        (["--denoise", "both"], {}, "argument --denoise: 'both' is neither before nor after"),
        ([], {"ACUITY_DENOISE": "yes"}, "argument --denoise: 'yes' is neither before nor after"),
        ([], {"ACUITY_FUSION": "yes"}, "variable ACUITY_FUSION: 'yes' is neither 0 nor 1"),
        ([], {"ACUITY_ALLOW_MISSING": "yes"}, "variable ACUITY_ALLOW_MISSING: 'yes' is neither 0 nor 1"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    argv: list[str], environ: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse_options(argv, environ=environ)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err
