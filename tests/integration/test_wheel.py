"""The wheel in an environment of its own, from nothing: the command does what the application of a clone does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from acuity.demo.study import write_demo_study
from tests.commands.test_run import pixels, told

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of programs of an environment that holds the wheel of this tree and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    build = [sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(repository)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the wheel's build tools cannot be downloaded: {done.stderr[-300:]}")
    venv.create(folder / "env", with_pip=True)
    (wheel,) = folder.glob("acuity_mr-*.whl")
    install = [str(folder / "env" / "bin" / "python"), *pip, "install", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False, env=clean())
    if "Could not find a version" in done.stderr or "ConnectionError" in done.stderr:
        pytest.skip(f"what the wheel depends on cannot be downloaded: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    yield folder / "env" / "bin"
    shutil.rmtree(folder)  # gigabytes


def clean(**more: str) -> dict[str, str]:
    """The environment without what would lead to this tree; results depend on the number of threads."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ACUITY_", "HOLOSCAN_", "PYTHON"))}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def test_the_command_of_the_wheel_does_what_the_application_does(
    installed: Path, repository: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    write_demo_study(study, seed=0, spacing=(4.0, 4.0, 4.0), truth_folder=tmp_path / "truth")

    def run(*command: object, **environment: str) -> str:
        words = [str(word) for word in (*command, "--spacing", "2")]
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, check=False, env=clean(**environment)
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    said = run(installed / "acuity", "run", "study", "-o", "out")
    application = [installed / "python", repository / "app.py", "-i", study, "-o", "app", "-m", repository / "bundles"]
    also_said = run(*application, PYTHONPATH=str(repository))
    assert pixels(tmp_path / "out") == pixels(tmp_path / "app")
    assert told(tmp_path / "out") == told(tmp_path / "app")
    assert [line[:16] for line in said.splitlines()] == [line[:16] for line in also_said.splitlines()]
