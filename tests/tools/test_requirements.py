"""The requirement files: bounded, without a package twice, complete, and one torch for everything."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FILES = ("requirements.txt", "requirements-nodeps.txt", "requirements-dev.txt")


def requirements(file: Path) -> dict[str, Requirement]:
    """Normalized name -> requirement."""
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return {canonicalize_name(r.name): r for r in map(Requirement, filter(None, lines))}


def test_every_package_stands_once_and_has_a_bound(repository: Path) -> None:
    found = [pair for file in FILES for pair in requirements(repository / file).items()]
    assert len(found) == len(dict(found))
    assert [name for name, requirement in found if not requirement.specifier] == []


def test_there_is_one_torch(repository: Path) -> None:
    constraints = requirements(repository / "constraints.txt")
    assert constraints == {"torch": requirements(repository / "requirements.txt")["torch"]}
    assert "export PIP_CONSTRAINT := $(CURDIR)/constraints.txt" in (repository / "Makefile").read_text()


def test_python_versions_agree(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    first, last = re.findall(r"3\.(\d+)", project["requires-python"])
    assert f"(3, {first}) <= sys.version_info[:2] <= (3, {int(last) - 1})" in (repository / "Makefile").read_text()


def test_every_imported_package_is_required(repository: Path) -> None:
    product = [*repository.glob("acuity/**/*.py"), *repository.glob("operators/*.py"), repository / "app.py"]
    imported = {name for file in product for name in imports_of(file)}
    assert "torch" in imported
    distributions = packages_distributions()
    required = requirements(repository / "requirements.txt") | requirements(repository / "requirements-nodeps.txt")
    for name in sorted(imported - set(sys.stdlib_module_names) - {"acuity", "operators", "app", "label"}):
        providers = {canonicalize_name(provider) for provider in distributions.get(name, [])}
        assert providers & required.keys(), f"{name} is imported, but none of {providers or 'no package'} is required"


def imports_of(file: Path) -> set[str]:
    """Top-level names that a module imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}
