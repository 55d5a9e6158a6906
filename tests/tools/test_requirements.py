"""The requirement files: a reason beside each bound, and one torch for everything."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

FILES = ("requirements.txt", "requirements-nodeps.txt", "requirements-dev.txt")


def requirement_lines(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]


def requirements(file: Path) -> dict[str, Requirement]:
    """Normalized name -> requirement."""
    found = [Requirement(line.split("  #")[0]) for line in requirement_lines(file)]
    return {normalized(requirement.name): requirement for requirement in found}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", FILES)
def test_every_line_has_a_bound_and_a_reason(repository: Path, name: str) -> None:
    lines = requirement_lines(repository / name)
    assert lines
    for line in lines:
        requirement, separator, reason = line.partition("  # ")
        assert separator and len(reason.split()) >= 3, f"{name}: no reason beside `{line}`"
        assert Requirement(requirement).specifier, f"{name}: no bound in `{line}`"


def test_no_package_is_required_twice(repository: Path) -> None:
    seen: dict[str, str] = {}
    for file in FILES:
        for package in requirements(repository / file):
            assert package not in seen, f"{package} stands in {seen.get(package)} and in {file}"
            seen[package] = file


def test_constraint_is_the_pin_of_torch(repository: Path) -> None:
    constraints = requirements(repository / "constraints.txt")
    assert set(constraints) == {"torch"}
    assert constraints["torch"].specifier == requirements(repository / "requirements.txt")["torch"].specifier
    assert str(constraints["torch"].specifier) == "==2.13.0"


def test_make_hands_the_constraint_to_build_environments(repository: Path) -> None:
    assert "export PIP_CONSTRAINT := $(CURDIR)/constraints.txt" in (repository / "Makefile").read_text()


def test_python_versions_agree(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in (repository / "Makefile").read_text()


def test_every_imported_package_is_required(repository: Path) -> None:
    product = [*repository.glob("acuity/**/*.py"), *repository.glob("operators/*.py"), repository / "app.py"]
    imported = {name.partition(".")[0] for file in product for name in imports_of(file)}
    assert "torch" in imported
    own = {"acuity", "operators", "app", "label"}
    distributions = packages_distributions()
    required = {
        name for file in ("requirements.txt", "requirements-nodeps.txt") for name in requirements(repository / file)
    }
    for name in sorted(imported - set(sys.stdlib_module_names) - own):
        providers = {normalized(provider) for provider in distributions.get(name, [])}
        assert providers & required, f"{name} is imported, but none of {providers or 'no package'} is required"


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
