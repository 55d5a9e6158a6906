"""Mutated studies are read right or refused with a code, within bounded memory and time; see ``tests.fuzz``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def fuzz(repository: Path, *arguments: str) -> str:
    """The table that ``python -m tests.fuzz`` prints; a fault fails the test and is in its message."""
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_study_of_each_kind_of_mutation(repository: Path) -> None:
    """Read and prepared, without writing, and without the kinds that take seconds each."""
    assert "0 faults" in fuzz(repository, "--count", "35", "--quick")


@pytest.mark.slow
def test_a_thousand_studies(repository: Path) -> None:
    table = fuzz(repository, "--count", "1000")
    assert "1000 studies" in table and "0 faults" in table
