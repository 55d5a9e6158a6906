"""Locks what the application's image holds: every wheel by version and hash, for Linux x86_64, Python 3.11, CPU.

`packaging/requirements-cpu.in` says what is wanted, `requirements.txt` within which bounds. pip resolves it among what
was uploaded before a date, which stands in the lock: the same date gives the same lock. Besides the lock it writes
`packaging/supply_chain/packages.json`, what the wheels' metadata say: bill of materials and licenses are made of it
without a network.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from acuity.errors import AcuityError, DataError
from tools.supply_chain.packages import LOCK, RECORD, REPOSITORY, WANTED, Package, record_text, wanted

# A page of links to builds of torch, the CPU ones of all versions among them; a folder with the wheel serves as well.
TORCH = "https://download.pytorch.org/whl/cpu/torch/"
_DATE = re.compile(r"^# Uploads before (\d{4}-\d{2}-\d{2})\.$", re.MULTILINE)
_HEADER = """\
# The wheels of the application's image: Linux x86_64 (glibc 2.35 or later), Python 3.11, CPU. Not edited by hand:
# python tools/supply_chain/lock.py makes it of packaging/requirements-cpu.in and the bounds in requirements.txt.
# Uploads before {before}.
# pip install --require-hashes --no-deps --only-binary :all: --extra-index-url https://download.pytorch.org/whl/cpu
# torch's CPU build lies there and not on PyPI: the local version +cpu and the hash admit no other build.
"""


def resolve(repository: Path, before: date, torch: str) -> list[Package]:
    """What pip would install, in the order of the names.

    Parameters
    ----------
    before : uploads from this day on are not considered
    torch : folder with the wheel of torch, or page with links to it

    Raises
    ------
    DataError
        When this is not the image's platform, or pip finds no solution.
    """
    if (sys.platform, platform.machine(), sys.version_info[:2]) != ("linux", "x86_64", (3, 11)):
        raise DataError(
            f"This is {platform.platform()} with Python {platform.python_version()}.",
            rule="The image is for Linux x86_64 and Python 3.11, and pip resolves for the machine that it runs on.",
            remedy="Run it on such a machine.",
        )
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable,
            "-m",
            "pip",
            "--isolated",
            "--quiet",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--only-binary",
            ":all:",
            "--uploaded-prior-to",
            before.isoformat(),
            "--find-links",
            torch,
            "--requirement",
            str(repository / WANTED),
            "--constraint",
            str(repository / "requirements.txt"),
            "--report",
            str(report),
        ]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise DataError(
                f"pip finds no solution: {done.stderr.strip()}",
                rule=f"What {WANTED} asks for must be had within the bounds of requirements.txt, as wheels.",
                remedy="Have pip 26 or later, reach PyPI, and give the folder or page of torch's CPU build: --torch.",
            )
        return packages_of(json.loads(report.read_text())["install"], wanted(repository))


def packages_of(installs: Sequence[dict[str, Any]], roots: Sequence[Requirement]) -> list[Package]:
    """The packages of pip's installation report (version 1), in the order of their names.

    Parameters
    ----------
    installs : its ``install`` list
    roots : what was asked for, for the extras
    """
    metadata = {str(canonicalize_name(install["metadata"]["name"])): install["metadata"] for install in installs}
    needs = _needs(metadata, roots)
    packages = []
    for install in installs:
        meta = install["metadata"]
        name = canonicalize_name(meta["name"])
        stated = str(meta.get("license_expression") or meta.get("license") or "").strip()
        packages.append(
            Package(
                name=name,
                version=meta["version"],
                summary=" ".join(str(meta.get("summary") or "").split()),
                file=install["download_info"]["url"].rpartition("/")[2].replace("%2B", "+"),
                sha256=install["download_info"]["archive_info"]["hashes"]["sha256"],
                license=stated if "\n" not in stated else "",
                classifiers=tuple(
                    c.rpartition(" :: ")[2] for c in meta.get("classifier", ()) if c.startswith("License")
                ),
                requires=tuple(sorted(needs[name])),
            )
        )
    return sorted(packages, key=lambda package: package.name)


def _needs(metadata: dict[str, dict[str, Any]], roots: Sequence[Requirement]) -> dict[str, set[str]]:
    """For each package the others that it needs here, with those of the extras that anyone asks of it."""
    extras: dict[str, set[str]] = {name: set() for name in metadata}
    needs: dict[str, set[str]] = {name: set() for name in metadata}
    pending = list(roots)
    while pending:
        asked = pending.pop()
        name = canonicalize_name(asked.name)
        new = ({""} | asked.extras) - extras[name]
        extras[name] |= new
        for needed in _requirements(metadata[name], new):
            needs[name].add(canonicalize_name(needed.name))
            pending.append(needed)
    return needs


def _requirements(metadata: dict[str, Any], extras: set[str]) -> Iterator[Requirement]:
    for text in metadata.get("requires_dist", ()):
        needed = Requirement(text)
        if any(needed.marker is None or needed.marker.evaluate({"extra": extra}) for extra in extras):
            yield needed


def lock_text(packages: Sequence[Package], before: date) -> str:
    """A requirements file with hashes, and what each package is there for."""
    needed_by: dict[str, list[str]] = {package.name: [] for package in packages}
    for package in packages:
        for name in package.requires:
            needed_by[name].append(package.name)
    lines = [_HEADER.format(before=before.isoformat())]
    for package in packages:
        lines.append(f"{package.name}=={package.version} \\\n    --hash=sha256:{package.sha256}\n")
        if needed_by[package.name]:
            lines.append(f"    # needed by {', '.join(needed_by[package.name])}\n")
    return "".join(lines)


def locked_before(repository: Path) -> date | None:
    """The date in the lock, None where there is no lock yet."""
    lock = repository / LOCK
    found = _DATE.search(lock.read_text()) if lock.is_file() else None
    return None if found is None else date.fromisoformat(found[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write lock and record; the exit code is 0, or the error's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--before",
        type=date.fromisoformat,
        metavar="YYYY-MM-DD",
        help="consider what was uploaded before this day (default: the day in the lock); leave some "
        "days to today, in which uploads of bad intent are mostly found",
    )
    parser.add_argument(
        "--torch",
        default=TORCH,
        metavar="PLACE",
        help="folder or page of links with the CPU build of torch (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    before = options.before or locked_before(REPOSITORY)
    if before is None:
        parser.error("there is no lock yet: give --before")
    try:
        packages = resolve(REPOSITORY, before, options.torch)
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    (REPOSITORY / LOCK).write_text(lock_text(packages, before))
    (REPOSITORY / RECORD).parent.mkdir(exist_ok=True)
    (REPOSITORY / RECORD).write_text(record_text(packages))
    print(f"{len(packages)} packages in {LOCK}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
