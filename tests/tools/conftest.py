"""The two build contexts, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.package import write_cpu_context, write_sdk_context
from tools.package_manifests import Revision, read_revision


@pytest.fixture(scope="session")
def revision(repository: Path) -> Revision:
    return read_revision(repository)


@pytest.fixture(scope="session")
def cpu(revision: Revision, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Context of the CPU image."""
    folder = tmp_path_factory.mktemp("cpu")
    write_cpu_context(folder, revision)
    return folder


@pytest.fixture(scope="session")
def sdk(revision: Revision, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Context of the SDK's packager."""
    folder = tmp_path_factory.mktemp("sdk")
    write_sdk_context(folder, revision, "acuity:0.1.0-sdk")
    return folder


@pytest.fixture(params=["cpu", "sdk"])
def context(request: pytest.FixtureRequest) -> Path:
    """Each of the two."""
    folder: Path = request.getfixturevalue(request.param)
    return folder
