"""One environment serves the application and the label server, in processes that they start too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def run_python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_label_server_and_application_share_the_environment(tmp_path: Path) -> None:
    code = (
        "import monai, monai.deploy.core, pydicom, highdicom\n"
        "import monailabel.interfaces.app, monailabel.interfaces.utils.app, monailabel.datastore.dicom\n"
        "print(pydicom.__version_info__[0])"
    )
    done = run_python("-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "3"


def test_stand_in_for_pydicom_seg_says_where_to_turn(tmp_path: Path) -> None:
    done = run_python("-c", "import pydicom_seg; pydicom_seg.MultiClassReader", folder=tmp_path)
    assert done.returncode == 1
    assert "pydicom_seg.MultiClassReader is not available" in done.stderr
    assert "acuity.dicom" in done.stderr


def test_torch_is_the_pinned_one_and_no_torchvision_came_with_it(tmp_path: Path) -> None:
    code = "import importlib.metadata as m; print(m.version('torch')); m.version('torchvision')"
    done = run_python("-c", code, folder=tmp_path)
    assert done.stdout.split("+")[0].strip() == "2.13.0"
    assert "PackageNotFoundError" in done.stderr  # PyPI's torchvision is a CUDA build that breaks a CPU torch
