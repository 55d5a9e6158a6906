"""``acuity run`` beside ``app.py``, with tiny stand-ins for the two networks."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from pydicom import dcmread

from acuity.commands.progress import RunWithBar
from acuity.pipeline.options import Options
from tests.signaled import interrupt
from tests.study_phantom import write_bundles, write_study


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return folder


@pytest.fixture(scope="module")
def schema(repository: Path) -> dict[str, Any]:
    return json.loads((repository / "configs" / "result.schema.json").read_text(encoding="utf-8"))


def start(repository: Path, *words: object, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """A command of ``acuity``, or ``app.py``, as a user starts it."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HOLOSCAN_", "ACUITY_"))}
    program = [str(repository / "app.py")] if words[0] == "app.py" else ["-m", "acuity.cli", str(words[0])]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, words[1:])],
        env={**inherited, "PYTHONPATH": str(repository), **environment},
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def pixels(out: Path) -> dict[str, str]:
    """The hash of each DICOM object's pixels, and of the picture, by its place."""
    hashes = {
        path.relative_to(out).as_posix(): hashlib.sha256(dcmread(path).get("PixelData", b"")).hexdigest()
        for path in out.rglob("*.dcm")
    }
    return {**hashes, "png": hashlib.sha256((out / "overview" / "overview.png").read_bytes()).hexdigest()}


def told(out: Path) -> dict[str, Any]:
    """``result.json`` without what differs from run to run."""
    result = json.loads((out / "result.json").read_text())
    result["outputs"] = [entry["path"] for entry in result["outputs"]]
    result["timings_s"] = list(result["timings_s"])
    del result["peak_memory_mib"]
    return result


@pytest.mark.slow
def test_the_command_does_what_the_application_does(
    repository: Path, study: Path, bundles: Path, tmp_path: Path
) -> None:
    wishes = ("--spacing", "2.5", "--series", "T1c=#2")
    application = start(repository, "app.py", "-i", study, "-o", tmp_path / "app", "-m", bundles, *wishes)
    said = application.communicate(timeout=900)[1]
    assert application.returncode == 0, said
    command = start(repository, "run", study, "-o", "out", *wishes, cwd=tmp_path, ACUITY_MODELS=str(bundles))
    lines = command.communicate(timeout=900)[1].splitlines()
    assert command.returncode == 0, lines
    assert pixels(tmp_path / "out") == pixels(tmp_path / "app")
    assert told(tmp_path / "out") == told(tmp_path / "app")
    assert [line[:16] for line in lines] == [line[:16] for line in said.splitlines()]


@pytest.mark.slow
def test_it_ends_with_the_refusal_s_code(repository: Path, study: Path, bundles: Path, tmp_path: Path) -> None:
    command = start(repository, "run", study, "-o", tmp_path / "out", "-m", bundles, "--series", "T1c=#77")
    err = command.communicate(timeout=600)[1]
    assert command.returncode == 32
    assert "error: invalid-rules: T1c is named by #77, and 0 series of the study have that number." in err


def test_a_terminal_sees_the_percentage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Something:
        def summary(self) -> str:
            return "done"

    run = RunWithBar(Options(input=tmp_path, output=tmp_path / "out", models=tmp_path))
    run.open()
    monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())

    def work() -> Something:
        report = run.progress("segment")
        for done in np.linspace(0, 1, 11):
            report(float(done))
        return Something()

    run.perform("segment", work)
    assert " % |" in terminal.getvalue()
    assert terminal.getvalue().splitlines()[-1].endswith("done")


def check_end(number: signal.Signals, code: int, said: str, out: Path, schema: dict[str, Any]) -> bool:
    """Whether a run was interrupted, as it must say and leave it; else it must be complete."""
    assert "Traceback" not in said
    assert os.listdir(out.parent) in ([], [out.name])
    left = os.listdir(out) if out.exists() else []
    result = json.loads((out / "result.json").read_text()) if left else {}
    if left:
        jsonschema.validate(result, schema)
    if code == 0:  # it came when everything was there
        written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
        assert result["status"] == "success" and "error" not in said
        assert {entry["path"] for entry in result["outputs"]} | {"result.json"} == written
        return False
    assert code == 128 + number, said
    errors = [line for line in said.splitlines() if not re.match(r"[a-z -]{16} +\d+\.\d s  ", line)]
    assert len(errors) == 1 and errors[0].startswith("error: interrupted: ")
    assert left in ([], ["result.json"])
    if left:
        assert (result["status"], result["error"]["code"], result["outputs"]) == ("failed", "interrupted", [])
        assert result["exit_code"] == code
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["run", "app.py"])
def test_a_signal_at_the_start_ends_with_one_line(
    command: str,
    number: signal.Signals,
    repository: Path,
    study: Path,
    bundles: Path,
    tmp_path: Path,
    schema: dict[str, Any],
) -> None:
    for n, seconds in enumerate((0.0, 0.05, 0.3)):
        (tmp_path / str(n)).mkdir()
        out = tmp_path / str(n) / "out"
        words = ("run", study) if command == "run" else ("app.py", "-i", study)
        process = start(repository, *words, "-o", out, "-m", bundles)
        assert check_end(number, *interrupt(process, number, seconds), out, schema)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_leaves_nothing_half_written(
    number: signal.Signals, repository: Path, study: Path, bundles: Path, tmp_path: Path, schema: dict[str, Any]
) -> None:
    def begin(n: int) -> tuple[subprocess.Popen[str], Path]:
        (tmp_path / str(n)).mkdir()
        out = tmp_path / str(n) / "out"
        return start(repository, "run", study, "-o", out, "-m", bundles, "--spacing", "2.5"), out

    began = time.monotonic()
    whole, _ = begin(-1)
    assert whole.communicate(timeout=900) and whole.returncode == 0
    duration = time.monotonic() - began
    rng = np.random.default_rng(number)
    interrupted = 0
    for n in range(60):
        process, out = begin(n)
        seconds = (n + rng.random()) / 60 * duration
        interrupted += check_end(number, *interrupt(process, number, seconds), out, schema)
        shutil.rmtree(out.parent)
    assert interrupted > 30  # the others had ended: a busy machine is not equally fast all the time


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [1.5, pytest.param(12.0, marks=pytest.mark.slow)])
def test_a_signal_ends_the_demo(number: signal.Signals, seconds: float, repository: Path, tmp_path: Path) -> None:
    command = start(repository, "demo", "--out", tmp_path / "demo")
    with pytest.raises(subprocess.TimeoutExpired):
        command.wait(seconds)
    command.send_signal(number)
    err = command.communicate(timeout=60)[1]
    assert command.returncode == 128 + number
    assert err.splitlines()[-1].startswith("error: interrupted: ") and "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give either INPUT or the files"),
        (("x", "--t1", "y"), "give either INPUT or the files"),
        (("{dicom}", "--only", "sr"), "--only and --stripped are for NIfTI"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    words: tuple[str, ...], message: str, repository: Path, study: Path, tmp_path: Path
) -> None:
    command = start(repository, "run", "-o", tmp_path / "out", *(word.format(dicom=study) for word in words))
    err = command.communicate(timeout=120)[1]
    assert command.returncode == 2 and message in err
    assert not (tmp_path / "out").exists()


def test_a_wrong_path_is_named_at_once(repository: Path, tmp_path: Path) -> None:
    command = start(repository, "run", tmp_path / "nowhere", "-o", tmp_path / "out")
    err = command.communicate(timeout=60)[1]
    assert command.returncode == 10
    assert f"INPUT, {tmp_path / 'nowhere'}, does not exist." in err


@pytest.mark.parametrize("words", [("run",), ("app.py", "-i")], ids=["acuity run", "app.py"])
def test_a_study_without_t1c_is_refused_unless_the_variable_allows_it(
    words: tuple[str, ...], repository: Path, study: Path, bundles: Path, tmp_path: Path
) -> None:
    for name in ("T1", "FLAIR"):
        shutil.copytree(study / name, tmp_path / "study" / name)
    line = (*words, tmp_path / "study", "-m", bundles, "--spacing", "4", "-o")
    refused = start(repository, *line, tmp_path / "refused")
    assert refused.wait() == 30
    assert "--allow-missing runs without T1c, T1 or T2" in refused.communicate()[1]
    allowed = start(repository, *line, tmp_path / "out", ACUITY_ALLOW_MISSING="1")
    said = allowed.communicate()[1]
    assert allowed.returncode == 0, said
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["measurements"]["ET"]["volume_ml"] is None and result["measurements"]["WT"]["volume_ml"] > 5
    assert "warning: T1c and T2 are missing." in said
