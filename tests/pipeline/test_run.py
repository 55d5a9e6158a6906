from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from acuity.errors import MissingSliceError
from acuity.pipeline.options import Options
from acuity.pipeline.result import Interrupted
from acuity.pipeline.run import Run, set_up_logging

IDENTIFIER = "DOE^JANE"


class Something:
    """A stage's result without a part in ``result.json``."""

    def summary(self) -> str:
        return "what was done"


class Described(Something):
    """A stage's result with its sections of ``result.json``."""

    def __init__(self, **sections: Any) -> None:
        self.sections = sections

    def describe(self) -> dict[str, Any]:
        return self.sections


def raising(error: BaseException) -> Something:
    raise error


@pytest.fixture
def schema(repository: Path) -> dict[str, Any]:
    return json.loads((repository / "configs" / "result.schema.json").read_text())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(Options(input=tmp_path, output=tmp_path / "out", models=tmp_path))
    run.open()
    return run


@pytest.fixture
def quiet_after() -> Iterator[None]:
    logger = logging.getLogger("acuity")
    before = logger.handlers[:], logger.level, logger.propagate
    root = logging.getLogger().handlers[:]
    yield
    logger.handlers, logger.level, logger.propagate = before
    logging.getLogger().handlers[:] = root


def result_of(run: Run) -> dict[str, Any]:
    return json.loads((run.options.output / "result.json").read_text())


def test_a_stage_is_timed_and_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.perform("select", Something) is not None
    assert capsys.readouterr().err.split() == ["select", "0.0", "s", "what", "was", "done"]
    assert run.manifest.timings["select"] >= 0


def test_after_an_error_no_stage_runs(run: Run) -> None:
    first = MissingSliceError("a gap")
    assert run.perform("read", lambda: raising(first)) is None
    assert run.perform("select", lambda: raising(AssertionError("must not run"))) is None
    assert run.error is first


def test_a_refusal_leaves_only_its_result(run: Run, schema: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    (run.folder / "seg").mkdir()
    (run.folder / "seg" / "half.dcm").write_bytes(b"x")
    run.perform("read", lambda: raising(MissingSliceError("Gap of 6 mm.", rule="Equal gaps.", remedy="Send again.")))
    assert run.finish() == 22
    assert os.listdir(run.options.output) == ["result.json"]
    result = result_of(run)
    jsonschema.validate(result, schema)
    assert (result["status"], result["exit_code"]) == ("refused", 22)
    assert result["error"] == {
        "code": "missing-slice",
        "exit_code": 22,
        "found": "Gap of 6 mm.",
        "rule": "Equal gaps.",
        "remedy": "Send again.",
    }
    assert "error: missing-slice: Gap of 6 mm. Equal gaps. Send again." in capsys.readouterr().err


@pytest.mark.usefixtures("quiet_after")
def test_an_unforeseen_error_is_told_without_its_text(
    run: Run, schema: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(2)
    run.perform("read", lambda: raising(ValueError(f"bad value {IDENTIFIER}")))
    assert run.finish() == 1
    result = result_of(run)
    jsonschema.validate(result, schema)
    assert (result["status"], result["error"]["code"]) == ("failed", "internal")
    assert result["error"]["found"].startswith("Unexpected ValueError in test_run.py, line ")
    told = capsys.readouterr()
    assert IDENTIFIER not in told.err + told.out + json.dumps(result)
    assert "traceback of ValueError" in told.err


@pytest.mark.usefixtures("quiet_after")
def test_libraries_do_not_speak(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().addHandler(logging.StreamHandler())  # as a library does that configures logging for itself
    set_up_logging(2)
    logging.getLogger("pydicom").warning("value %s is invalid", IDENTIFIER)
    warnings.warn(f"value {IDENTIFIER} is invalid", stacklevel=1)  # an error in tests, unless it is ignored
    assert IDENTIFIER not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "place", "exit_code"),
    [(28, "elsewhere", 60), (13, "output", 60), (13, "input", 1)],
    ids=["a full disk", "an output that cannot be opened", "an input that cannot be opened"],
)
def test_what_cannot_be_written_is_a_refusal_and_what_cannot_be_read_is_not(
    run: Run, number: int, place: str, exit_code: int
) -> None:
    folder = {"output": run.folder, "input": run.options.input, "elsewhere": Path("/out")}[place]
    run.perform("write", lambda: raising(OSError(number, os.strerror(number), str(folder / IDENTIFIER))))
    assert run.finish() == exit_code
    assert (os.strerror(number) in result_of(run)["error"]["found"]) is (exit_code == 60)
    assert IDENTIFIER not in json.dumps(result_of(run))


def test_an_interruption_is_a_failure_with_the_shell_s_code(run: Run, schema: dict[str, Any]) -> None:
    run.fail(Interrupted(15))
    run.fail(FileNotFoundError("a consequence of it"))
    assert run.finish() == 143
    assert result_of(run)["error"]["code"] == "interrupted"
    jsonschema.validate(result_of(run), schema)


def test_a_stage_that_never_ran_is_no_success(run: Run) -> None:
    run.expect("segment")
    run.expect("read")
    run.perform("read", Something)
    assert run.finish() == 1
    assert result_of(run)["status"] == "failed"


def test_success_publishes_what_was_written(run: Run) -> None:
    run.expect("write")

    def write() -> Something:
        (run.folder / "seg").mkdir()
        (run.folder / "seg" / "a.dcm").write_bytes(b"abc")
        return Described(measurements={"ET": 1}, warnings=["Twice.", "Twice."], models=[{"name": "m"}])

    run.perform("write", write)
    assert run.finish() == 0
    result = result_of(run)
    assert result["status"] == "success" and result["error"] is None
    assert result["outputs"] == [
        {"path": "seg/a.dcm", "bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    ]
    assert result["warnings"] == ["Twice."]
    assert result["measurements"] == {"ET": 1}
    assert sorted(os.listdir(run.options.output)) == ["result.json", "seg"]
    assert result["timings_s"]["total"] >= result["timings_s"]["write"]


def test_an_earlier_success_is_not_overwritten_by_a_refusal(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.perform("write", Something)
    run.finish()
    before = result_of(run)
    again = Run(run.options)
    again.open()
    assert again.perform("read", lambda: raising(AssertionError("must not run"))) is None
    assert again.finish() == 60
    assert result_of(run) == before
    assert "holds an earlier result" in capsys.readouterr().err


def test_quiet_says_only_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(Options(input=tmp_path, output=tmp_path / "out", models=tmp_path, verbosity=-1))
    run.open()
    run.perform("read", Something)
    assert run.finish() == 0
    assert capsys.readouterr().err == ""


def test_progress_is_logged_at_every_tenth(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="acuity")
    report = run.progress("segment")
    for done in (0.01, 0.05, 0.5, 0.52, 1.0):
        report(done)
    assert [record.getMessage() for record in caplog.records] == ["segment: 50 %", "segment: 100 %"]
