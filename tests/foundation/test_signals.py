"""Every program ends on Ctrl-C and SIGTERM from its first act on, before it imports anything slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from acuity.pipeline.stopping import run_process
from acuity.signals import end_on_signals, is_program
from tests.conftest import REPOSITORY
from tests.signaled import interrupt

PYTHON = sys.executable


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([PYTHON, f"{sys.prefix}/bin/acuity", "run"], True),
        ([PYTHON, "-m", "acuity.cli", "run"], True),
        ([PYTHON, str(REPOSITORY / "app.py")], True),
        ([PYTHON, "/elsewhere/app.py"], False),
        ([PYTHON, "/elsewhere/acuity"], False),
        ([PYTHON, "-m", "acuity_other"], False),
        ([PYTHON, "-m", "label.server"], False),  # somewhere else than in a clone
        ([PYTHON, str(REPOSITORY / "tools" / "brats_to_dicom.py")], True),
        ([PYTHON, "-m"], False),
        ([PYTHON, "-c", "import acuity"], False),
        ([PYTHON], False),
    ],
)
def test_only_acuity_s_own_programs_are_taken_over(
    words: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_program(words) is expected


@pytest.mark.parametrize("program", [["-m", "acuity.cli", "--version"], [str(REPOSITORY / "app.py"), "--version"]])
def test_the_program_listens_before_its_first_line(program: list[str]) -> None:
    """The interpreter's own start takes about 30 ms; argparse, the first import of a program, comes later."""
    code = "import signal; print('SIGTERM', signal.getsignal(signal.SIGTERM))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run([PYTHON, *program], env=environment, capture_output=True, text=True, check=True)
    modules = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert modules.index("acuity.signals") < modules.index("site") < modules.index("argparse")
    other = subprocess.run([PYTHON, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == "SIGTERM 0"  # nobody else's handlers are changed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "program",
    [
        ["-m", "acuity.cli", "evaluate", "seg", "--data", "x", "--output", "y"],
        ["-m", "acuity.cli", "train", "sr", "--recipe", "esrgan", "--data", "x", "--output", "y"],
        ["-m", "label.server", "--studies", "{folder}", "--secret", "{folder}/secret"],
        ["-m", "label.versions", "list", "--models", "{folder}"],
        ["-m", "workbench", "status", "--state", "{folder}"],
        ["tools/brats_to_dicom.py", "x", "y"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_every_program_ends_with_one_line(program: list[str], number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [PYTHON, *(word.format(folder=tmp_path) for word in program)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    code, said = interrupt(process, number, 0.05)
    assert (code, said) == (128 + number, f"error: interrupted: Stopped by signal {int(number)}.\n")


@pytest.fixture
def handlers() -> object:
    """Those of pytest are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("code", ["import sys; sys.exit(7)", "import os; os.kill(os.getpid(), 15)"])
def test_a_process_of_its_own_hands_its_code_on(code: str, handlers: object, capfd: pytest.CaptureFixture[str]) -> None:
    expected = 7 if "exit" in code else 143
    assert run_process([PYTHON, "-c", code], os.environ) == expected
    assert ("error: interrupted: Stopped by signal 15." in capfd.readouterr().err) is (expected == 143)


def test_a_signal_before_the_process_is_there_reaches_it(handlers: object, monkeypatch: pytest.MonkeyPatch) -> None:
    begin: Callable[..., subprocess.Popen] = subprocess.Popen

    def late(*args: object, **options: object) -> subprocess.Popen:
        os.kill(os.getpid(), signal.SIGTERM)
        return begin(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", late)
    end_on_signals()
    assert run_process([PYTHON, "-c", "import time; time.sleep(60)"], os.environ) == 143
