"""What the import contracts of pyproject.toml cannot say; they hold the layers themselves (``make lint``)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PRODUCT = ("dicom", "imaging", "models", "networks", "pipeline")
FOREIGN = ("acuity.research", "acuity.commands", "acuity.demo", "label", "workbench")

_IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1].split():
    package = importlib.import_module(f"acuity.{name}")
    for module in pkgutil.walk_packages(package.__path__, f"acuity.{name}."):
        importlib.import_module(module.name)
print(*sorted(name for name in sys.modules if name.startswith(tuple(sys.argv[2].split()))))
"""


def test_the_product_loads_nothing_of_research(repository: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _IMPORT_ALL, " ".join(PRODUCT), " ".join(FOREIGN)]
    loaded = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == ""


@pytest.mark.parametrize(
    ("imported", "allowed"),
    [
        (r"monai\.deploy", {"operators", "app.py"}),
        (
            r"highdicom\.(ann|ko|legacy|pm|pr|sc|seg|sr)|hd\.(ann|ko|legacy|pm|pr|sc|seg|sr)\b",
            {"acuity/dicom/writing", "workbench"},
        ),
    ],
    ids=["MONAI Deploy", "the writers of highdicom"],
)
def test_a_library_is_used_in_its_place_alone(repository: Path, imported: str, allowed: set[str]) -> None:
    files = [
        file for folder in ("acuity", "operators", "label", "workbench") for file in (repository / folder).rglob("*.py")
    ]
    found = {
        str(file.relative_to(repository).parent)
        for file in files
        if re.search(rf"^[^#]*(import|from) +({imported})|= *{imported}|\({imported}", file.read_text(), re.MULTILINE)
    }
    assert found <= allowed
