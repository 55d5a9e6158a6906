"""The command's one handler for what no one foresaw."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from acuity.cli import main
from acuity.errors import NoDicomError

IDENTIFIER = "DOE^JANE"
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m"


@pytest.fixture(autouse=True)
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that the command can be given."""
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path)


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def inspect(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("acuity.pipeline.inspection.inspect", inspect)


@pytest.mark.parametrize("error", [ValueError(IDENTIFIER), KeyError(IDENTIFIER), OSError(errno.EIO, IDENTIFIER)])
def test_an_unforeseen_error_is_told_without_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    failing(monkeypatch, error)
    assert main(["inspect", "-v", "study"]) == 1
    told = capsys.readouterr().err
    assert f"acuity: internal: Unexpected {type(error).__name__} in test_cli.py, line " in told
    assert "Please report it" in told and "traceback of" in told
    assert IDENTIFIER not in told


LINES = [
    ["inspect", "study"],
    ["dataset", "check", "study"],
    ["train", "forest", "--data", "study"],
    ["demo"],
    ["run", "study", "-o", "out"],
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_no_command_has_a_way_around_the_handler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: list[str]
) -> None:
    """Neither header values nor escape sequences of what was not foreseen come out of any of them."""

    def fail(args: object) -> int:
        raise ValueError(f"{IDENTIFIER}{ESCAPE}")

    monkeypatch.setattr(f"acuity.commands.{line[0]}.run", fail)
    try:
        code = main(line)
    except SystemExit as ended:
        pytest.fail(f"the line is wrong: {ended}")
    told = "".join(capsys.readouterr())
    assert code == 1 and "acuity: internal: Unexpected ValueError" in told and "Please report it" in told
    assert IDENTIFIER not in told and all(c == "\n" or c.isprintable() for c in told)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_want_of_room_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    failing(monkeypatch, OSError(number, os.strerror(number)))
    assert main(["inspect", "study"]) == 60
    assert os.strerror(number) in capsys.readouterr().err


def test_no_escape_sequence_reaches_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, NoDicomError(f"Nothing in {ESCAPE}.", remedy=ESCAPE))
    assert main(["inspect", "study"]) == 11
    assert all(c == "\n" or c.isprintable() for c in capsys.readouterr().err)


def test_a_closed_pipe_is_no_fault() -> None:
    code = "import sys\nfrom acuity.cli import main\nimport acuity.pipeline.inspection as i\n"
    code += "i.inspect = lambda *a, **k: print('x' * 1000000, flush=True)\nsys.exit(main(['inspect', 'study']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert (process.returncode, told) == (141, b"")


def test_pydicom_does_not_quote_headers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def inspect(*arguments: object, **options: object) -> int:
        logging.getLogger("pydicom").warning("Invalid value for VR DA: %s%s", IDENTIFIER, ESCAPE)
        return 0

    monkeypatch.setattr("acuity.pipeline.inspection.inspect", inspect)
    assert main(["inspect", "-vv", "study"]) == 0
    assert IDENTIFIER not in "".join(capsys.readouterr())
