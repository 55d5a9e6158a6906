"""Asks a vulnerability service about every locked package, and holds what it says against the explained findings.

It runs pip-audit on `packaging/requirements-cpu.lock`. A finding that `packaging/supply_chain/vulnerabilities.yaml`
does not explain, an explanation of which nothing is left to explain, or that is older than 90 days, ends it with 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from acuity.errors import AcuityError, DataError
from tools.supply_chain.packages import LOCK, REPOSITORY, read_pins

EXPLAINED = "packaging/supply_chain/vulnerabilities.yaml"
MAX_AGE_DAYS = 90
_KEYS = {"package", "reason", "date"}


@dataclass(frozen=True)
class Explanation:
    """Why a finding does not stop a release: the package it concerns, the reason, and when that was judged."""

    package: str
    reason: str
    date: date


def read_explanations(text: str) -> dict[str, Explanation]:
    """Identifier of the vulnerability -> explanation, from the text of ``vulnerabilities.yaml``.

    Raises
    ------
    DataError
        When an entry lacks package, reason or date.
    """
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text) or {}
    for name, entry in entries.items():
        if not isinstance(entry, dict) or entry.keys() != _KEYS or not isinstance(entry["date"], date):
            raise DataError(
                f"{EXPLAINED} does not explain {name} in full.",
                rule="An entry has package, reason and date (YYYY-MM-DD), and nothing else.",
                remedy="Write what is missing.",
            )
    return {name: Explanation(**entry) for name, entry in entries.items()}


def run_pip_audit(pins: Mapping[str, tuple[str, str]], service: Sequence[str]) -> list[dict[str, Any]]:
    """What pip-audit says of each package: ``dependencies`` of its JSON.

    Versions are asked for without their local part (+cpu): services know the releases of PyPI.

    Parameters
    ----------
    pins : name -> (version, hash)
    service : options of pip-audit that name the service

    Raises
    ------
    DataError
        When the service cannot be reached, or did not know every package: then nothing was audited.
    """
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("".join(f"{n}=={v.partition('+')[0]}\n" for n, (v, _) in sorted(pins.items())))
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--requirement",
            str(requirements),
            "--no-deps",
            "--disable-pip",
            "--format",
            "json",
            "--progress-spinner",
            "off",
            *service,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answered: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError) as error:
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        raise DataError(
            f"pip-audit gave no result: {last}",
            rule="A release is audited against a vulnerability service.",
            remedy="Run it where the service can be reached, or name another: --service, --osv-url.",
        ) from error
    known = {entry["name"] for entry in answered if "skip_reason" not in entry}
    if unknown := sorted(pins.keys() - known):
        raise DataError(
            f"The service does not know {len(unknown)} of {len(pins)} packages: {', '.join(unknown[:5])}...",
            rule="Every locked package is audited.",
            remedy="A mirror may lack the service: name another with --service or --osv-url.",
        )
    return answered


def judge(answered: Sequence[Mapping[str, Any]], explained: Mapping[str, Explanation], today: date) -> list[str]:
    """What stops a release, a line each; nothing where all is well.

    Parameters
    ----------
    answered : see ``run_pip_audit``
    today : explanations may be 90 days old
    """
    found: list[str] = []
    used = set()
    for entry in answered:
        for vulnerability in entry["vulns"]:
            names = [vulnerability["id"], *vulnerability["aliases"]]
            matching = [name for name in names if name in explained and explained[name].package == entry["name"]]
            used.update(matching)
            if not matching:
                fixed = ", ".join(vulnerability["fix_versions"]) or "no version"
                found.append(f"{entry['name']} {entry['version']}: {names[0]} is not explained; fixed in {fixed}")
    for name, explanation in explained.items():
        age = (today - explanation.date).days
        if name not in used:
            found.append(f"{name} is explained, and {explanation.package} does not have it: remove the entry")
        elif age > MAX_AGE_DAYS or age < 0:
            found.append(f"{name} was judged {age} days ago (0 to {MAX_AGE_DAYS}): judge it again")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the lock; the exit code is 0, 1 for findings, or the error's own where nothing was audited."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--service", choices=("osv", "pypi"), default="pypi", help="default: %(default)s")
    parser.add_argument("--osv-url", metavar="URL", help="of a mirror of OSV, with --service osv")
    options = parser.parse_args(arguments)
    service = ["--vulnerability-service", options.service, *(["--osv-url", options.osv_url] if options.osv_url else [])]
    try:
        explained = read_explanations((REPOSITORY / EXPLAINED).read_text())
        pins = read_pins((REPOSITORY / LOCK).read_text())
        found = judge(run_pip_audit(pins, service), explained, date.today())
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for line in found:
        print(line)
    if not found:
        print(f"{len(pins)} packages, {len(explained)} explained findings, no other")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
