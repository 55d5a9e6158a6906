"""Independent judges of written DICOM: dicom3tools (Debian) and dcmqi (PyPI). Tests skip where one is absent."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk


def dciodvfy_errors(path: Path) -> list[str]:
    """What dciodvfy finds wrong with one object, read as its IOD demands."""
    return _errors(_run(_tool("dciodvfy", "Debian package dicom3tools"), str(path)))


def dcentvfy_errors(paths: Iterable[Path]) -> list[str]:
    """What dcentvfy finds inconsistent between objects: patient, study, series, frame of reference."""
    return _errors(_run(_tool("dcentvfy", "Debian package dicom3tools"), *map(str, paths)))


def dcmqi_segments(path: Path, folder: Path) -> list[sitk.Image]:
    """The segments of a SEG as dcmqi reads them, in the order of their numbers."""
    folder.mkdir(parents=True)
    tool = _tool("segimage2itkimage", "PyPI package dcmqi")
    _run(tool, "--inputDICOM", str(path), "--outputDirectory", str(folder), "-t", "nrrd", "-p", "s")
    count = len(list(folder.glob("s-*.nrrd")))
    return [sitk.ReadImage(str(folder / f"s-{n}.nrrd")) for n in range(1, count + 1)]


def dcmqi_report(path: Path, target: Path) -> dict[str, Any]:
    """A TID 1500 report as dcmqi reads it."""
    tool = _tool("tid1500reader", "PyPI package dcmqi")
    _run(tool, "--inputDICOM", str(path), "--outputMetadata", str(target))
    content: dict[str, Any] = json.loads(target.read_text())
    return content


def _tool(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed ({package})")
    return found


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
    # dicom3tools ends with 1 for findings; a tool that crashed or was misused is no judge
    assert done.returncode in (0, 1) and "Usage" not in done.stderr, f"{command[0]} failed: {done.stderr}"
    return done.stdout + done.stderr


def _errors(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(("Error", "Abort"))]
