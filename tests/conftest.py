"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root folder of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real images, which is never part of the repository: ``$ACUITY_DATA``, else ``../shared/data``."""
    folder = Path(os.environ.get("ACUITY_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real images are not on this machine: {folder} is no folder; set ACUITY_DATA to where they are")
    return folder
