"""The command of the label server: a wrong line is answered before anything slow is imported."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from label.server import APP, environment, parse


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (["--help"], 0, "folder of cases, or http(s) address"),
        (["--studies", "/nonexistent"], 10, "The folder of studies, /nonexistent, does not exist."),
        (["--studies", "htp://archive"], 10, "http(s) address of a DICOMweb service"),
        ([], 2, "--studies"),
        (["--studies", "/tmp", "--port", "many"], 2, "invalid int value: 'many'"),
    ],
)
def test_a_wrong_line_is_answered_at_once(line: list[str], code: int, text: str) -> None:
    """Torch and MONAI Label take many seconds: the process ends without them."""
    script = (
        "import sys, label.server as server\n"
        "try:\n    code = server.main(sys.argv[1:])\n"
        "except SystemExit as end:\n    code = end.code\n"
        "slow = {'torch', 'monai', 'monailabel'} & sys.modules.keys()\n"
        "sys.exit(f'imported {slow}' if slow else code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *line], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_processes_of_a_training_find_the_same_places(tmp_path: Path) -> None:
    found = environment(parse(["--studies", str(tmp_path), "--models", "models", "--cache", "cache"]))
    assert found["MONAI_LABEL_STUDIES"] == str(tmp_path)
    assert Path(found["MONAI_LABEL_DATASTORE_CACHE_PATH"]).is_absolute()
    address = "http://127.0.0.1:8042/dicom-web"
    assert environment(parse(["--studies", address]))["MONAI_LABEL_STUDIES"] == address


def test_no_module_stands_in_the_place_of_a_library() -> None:
    """MONAI Label puts the folder of the app first on sys.path."""
    stand_in = {"pydicom_seg"}  # for a library that is not installed
    names = {path.stem for path in APP.iterdir() if not path.name.startswith("_")} - stand_in
    assert not names & (packages_distributions().keys() | sys.stdlib_module_names)
