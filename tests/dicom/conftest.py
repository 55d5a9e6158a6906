"""Derived objects, written once for all tests of the writers. They are shared: no test changes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from tests.derived import SOURCES, Derived, derive

DeriveOnce = Callable[[str], Derived]


@pytest.fixture(scope="session")
def derive_once(tmp_path_factory: pytest.TempPathFactory) -> DeriveOnce:
    return cache(lambda kind: derive(tmp_path_factory.mktemp(kind), kind))


@pytest.fixture(scope="session", params=SOURCES)
def derived(request: pytest.FixtureRequest, derive_once: DeriveOnce) -> Derived:
    """Objects derived from each kind of source in turn."""
    return derive_once(request.param)


@pytest.fixture(scope="session")
def oblique(derive_once: DeriveOnce) -> Derived:
    return derive_once("oblique")
