"""The packages of the application's image, as they were locked: read back from `packaging/`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from acuity.errors import DataError

REPOSITORY = Path(__file__).resolve().parents[2]
WANTED = "packaging/requirements-cpu.in"
LOCK = "packaging/requirements-cpu.lock"
RECORD = "packaging/supply_chain/packages.json"
RELOCK = "Run `python tools/supply_chain/lock.py`."

_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+) \\\n    --hash=sha256:(?P<sha256>[0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """One wheel.

    Parameters
    ----------
    name : normalized (PyPA's name normalization)
    version : with its local part, such as 2.13.0+cpu
    summary : one line, by its authors
    file : name of the wheel
    sha256 : of the wheel, hexadecimal
    license : License-Expression of its metadata, else License where that is one line, else ""
    classifiers : its trove classifiers on licenses, without their common beginning
    requires : normalized names of the locked packages that it needs on this platform, sorted
    """

    name: str
    version: str
    summary: str
    file: str
    sha256: str
    license: str
    classifiers: tuple[str, ...]
    requires: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Package URL: what scanners know it by."""
        return f"pkg:pypi/{self.name}@{self.version.replace('+', '%2B')}"


def wanted(repository: Path) -> list[Requirement]:
    """What the image is asked to hold, see ``packaging/requirements-cpu.in``."""
    lines = (line.partition("#")[0].strip() for line in (repository / WANTED).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def wanted_names(repository: Path) -> list[str]:
    """Normalized and sorted."""
    return sorted(canonicalize_name(requirement.name) for requirement in wanted(repository))


def read_pins(lock: str) -> dict[str, tuple[str, str]]:
    """Name -> (version, SHA-256) of the text of a lock file.

    Raises
    ------
    DataError
        When a line is neither a pin with one hash nor a comment.
    """
    rest = [line for line in _PIN.sub("", lock).splitlines() if line and not line.lstrip().startswith("#")]
    if rest:
        raise DataError(f"{LOCK} has the line `{rest[0]}`.", rule="Each package is a pin with one hash.", remedy=RELOCK)
    return {pin["name"]: (pin["version"], pin["sha256"]) for pin in _PIN.finditer(lock)}


def read_packages(repository: Path) -> list[Package]:
    """The locked packages in the order of their names, with what their metadata said when they were locked.

    Raises
    ------
    DataError
        When the record and the lock do not name the same wheels.
    """
    entries: list[dict[str, Any]] = json.loads((repository / RECORD).read_text())
    packages = [
        Package(**{**entry, "classifiers": tuple(entry["classifiers"]), "requires": tuple(entry["requires"])})
        for entry in entries
    ]
    recorded = {package.name: (package.version, package.sha256) for package in packages}
    if differing := {name for name, _ in recorded.items() ^ read_pins((repository / LOCK).read_text()).items()}:
        raise DataError(
            f"{RECORD} and {LOCK} differ in {', '.join(sorted(differing))}.",
            rule="Both are made together.",
            remedy=RELOCK,
        )
    return packages


def record_text(packages: Iterable[Package]) -> str:
    """What ``read_packages`` reads."""
    return json.dumps([asdict(package) for package in packages], indent=1, ensure_ascii=False) + "\n"
