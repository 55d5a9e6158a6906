"""Fixtures that every test may use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
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


@pytest.fixture(autouse=True)
def the_level_of_the_log_stays() -> Iterator[None]:
    """A command that was told ``-v`` in one test is silent again in the next."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
