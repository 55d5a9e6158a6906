"""The two build contexts, made once."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tools.package_content import Revision
from tools.package_contexts import write_cpu_context, write_sdk_context

REVISION = Revision("0123456789abcdef0123456789abcdef01234567", 1_700_000_000, dirty=False)


@pytest.fixture(scope="session")
def revision() -> Revision:
    return REVISION


@pytest.fixture(scope="session")
def cpu(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Context of the CPU image."""
    folder = tmp_path_factory.mktemp("cpu")
    write_cpu_context(repository, folder, REVISION)
    return folder


@pytest.fixture(scope="session")
def sdk(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Context of the SDK's packager."""
    folder = tmp_path_factory.mktemp("sdk")
    write_sdk_context(repository, folder, REVISION, "acuity:0.1.0-sdk")
    return folder


@pytest.fixture(scope="session")
def entrypoint(repository: Path) -> ModuleType:
    """The image's entry point as a module; `packaging` on the import path is another package."""
    spec = importlib.util.spec_from_file_location("entrypoint", repository / "packaging" / "entrypoint.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
