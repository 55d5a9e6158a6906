"""A whole run that is killed at any moment: never a success without all outputs, never harm to an earlier result."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acuity.anatomy import Sequence
from tests.study_phantom import oblique_grid, write_bundles, write_study

Runner = Callable[..., dict[str, Any]]
KILLS = 100


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Runner]:
    """Performs one run of ``tests.killed_runs`` and gives its answer."""
    folder = tmp_path_factory.mktemp("killed")
    write_study(folder / "study", dict.fromkeys(Sequence, oblique_grid((5.0, 5.0, 9.0))))
    models = write_bundles(folder / "models")
    command = [sys.executable, "-m", "tests.killed_runs", str(folder / "study"), str(models)]
    server = subprocess.Popen(command, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None and server.stdout is not None
    answers = server.stdout

    def ask(output: Path, **when: float) -> dict[str, Any]:
        print(json.dumps({"output": str(output), **when}), file=server.stdin, flush=True)
        return json.loads(answers.readline())

    yield ask
    server.communicate()
    assert server.returncode == 0


@pytest.fixture(scope="module")
def whole(run: Runner, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A run that nothing stops, and its output."""
    output = tmp_path_factory.mktemp("whole") / "out"
    answer = run(output)
    assert answer["code"] == 0
    return answer, output


def files_of(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder, the hidden ones too."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_honest(output: Path, expected: set[str]) -> bool:
    """Where a result speaks of success, every output is there and whole. Returns whether it does."""
    if not (output / "result.json").exists():
        return False
    result = json.loads((output / "result.json").read_text())
    if result["status"] == "success":
        files = files_of(output)
        assert {entry["path"]: entry["sha256"] for entry in result["outputs"]}.items() <= files.items()
        assert {entry["path"] for entry in result["outputs"]} == expected
    return result["status"] == "success"


@pytest.mark.slow
def test_a_kill_at_any_moment(run: Runner, whole: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """At a hundred random moments, half by the clock and half by the calls of the kernel, and before each rename."""
    answer, output = whole
    expected = set(files_of(output)) - {"result.json"}
    assert assert_honest(output, expected) and len(expected) > 50
    rng = np.random.default_rng(0)
    moments: list[dict[str, float]] = [{"call": number} for number in answer["renames"]]
    moments += [{"call": int(n)} for n in rng.integers(1, answer["calls"], KILLS // 2)]
    moments += [{"after_s": float(s)} for s in rng.uniform(0, answer["seconds"], KILLS // 2)]
    killed = 0
    for number, moment in enumerate(moments):
        target = tmp_path / str(number)
        code = run(target, **moment)["code"]
        assert code == -9 or ("after_s" in moment and code == 0), moment
        assert_honest(target, expected)
        killed += code == -9
    assert len(answer["renames"]) >= 5 and killed > KILLS


@pytest.mark.slow
def test_a_killed_second_run_leaves_an_earlier_result_as_it_is(run: Runner, whole: tuple[dict[str, Any], Path]) -> None:
    answer, output = whole
    before = files_of(output)
    refused = run(output)
    assert refused["code"] == 60
    for call in range(1, refused["calls"] + 1):
        assert run(output, call=call)["code"] == -9
        assert files_of(output) == before


@pytest.mark.slow
def test_after_a_kill_the_same_folder_serves_again_unless_outputs_were_published(
    run: Runner, whole: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    answer, output = whole
    assert run(tmp_path / "early", call=answer["renames"][0] - 1)["code"] == -9
    assert run(tmp_path / "early")["code"] == 0
    assert assert_honest(tmp_path / "early", set(files_of(output)) - {"result.json"})
