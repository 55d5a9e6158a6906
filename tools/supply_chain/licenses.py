"""Checks the licenses of what the image holds against a policy, and writes the table of `docs/licenses.md`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from acuity.errors import AcuityError, DataError
from tools.supply_chain.packages import LOCK, REPOSITORY, Package, read_packages
from tools.supply_chain.weights import IN_THE_IMAGE, Weights, read_weights

POLICY = "packaging/supply_chain/licenses.yaml"
PAGE = "docs/licenses.md"
_OPERATORS = re.compile(r"\s+(?:AND|OR)\s+|[()]")


@dataclass(frozen=True)
class Reference:
    """Terms without an SPDX identifier: the components that may have them, where they are to be read, why they may."""

    components: tuple[str, ...]
    text: str
    reason: str


@dataclass(frozen=True)
class Policy:
    """Which licenses may be there.

    Parameters
    ----------
    allowed : SPDX identifier, with its exception if any -> reason
    references : LicenseRef-... -> what it is
    determined : package -> (SPDX expression, source of this), where metadata name none
    """

    allowed: Mapping[str, str]
    references: Mapping[str, Reference]
    determined: Mapping[str, tuple[str, str]]


def read_policy(repository: Path) -> Policy:
    """The policy of ``packaging/supply_chain/licenses.yaml``."""
    content: dict[str, Any] = yaml.safe_load((repository / POLICY).read_text())
    return Policy(
        allowed=content["allowed"],
        references={
            name: Reference(tuple(entry["components"]), entry["text"], entry["reason"])
            for name, entry in content["references"].items()
        },
        determined={name: (entry["license"], entry["source"]) for name, entry in content["determined"].items()},
    )


def license_of(package: Package, policy: Policy) -> str:
    """The SPDX expression of a package: what the policy determined, else what its metadata say.

    Raises
    ------
    DataError
        When neither gives a valid expression: an unknown license is no license.
    """
    stated = policy.determined[package.name][0] if package.name in policy.determined else package.license
    try:
        return str(canonicalize_license_expression(stated))
    except InvalidLicenseExpression as error:
        raise DataError(
            f"The license of {package.name} {package.version} is not known: its metadata say "
            f"{stated or 'nothing'!r} and {', '.join(package.classifiers) or 'have no classifier'}.",
            rule="Each component's license is an SPDX expression.",
            remedy=f"Read the license texts in its wheel and write what they say under `determined` in {POLICY}.",
        ) from error


def identifiers(expression: str) -> list[str]:
    """The licenses of an expression, each with its exception (WITH)."""
    return [part.strip() for part in _OPERATORS.split(expression) if part.strip()]


def violations(licenses: Mapping[str, str], policy: Policy) -> list[str]:
    """What the policy does not allow, a line each.

    Parameters
    ----------
    licenses : component -> SPDX expression; of alternatives (OR) each must be allowed
    """
    found = []
    for component, expression in licenses.items():
        for identifier in identifiers(expression):
            reference = policy.references.get(identifier)
            if reference is None and identifier not in policy.allowed:
                found.append(f"{component}: {identifier} is not allowed")
            elif reference is not None and component.partition("/")[0] not in reference.components:
                found.append(f"{component}: {identifier} is allowed for {', '.join(reference.components)} only")
    stale = policy.determined.keys() - {component.partition("/")[0] for component in licenses}
    return found + [f"{name}: stands under `determined`, and is not in the image" for name in sorted(stale)]


def checked_licenses(packages: Iterable[Package], weights: Iterable[Weights], policy: Policy) -> dict[str, str]:
    """Component -> SPDX expression.

    Raises
    ------
    DataError
        When a license is unknown or not allowed.
    """
    licenses = {package.name: license_of(package, policy) for package in packages}
    licenses |= {item.name: str(canonicalize_license_expression(item.license)) for item in weights}
    if found := violations(licenses, policy):
        raise DataError(
            "; ".join(found) + ".",
            rule=f"The licenses of the image are those that {POLICY} allows.",
            remedy="Do without the component, or have its license judged and write the reason there.",
        )
    return licenses


def page(packages: Sequence[Package], weights: Sequence[Weights], policy: Policy) -> str:
    """The text of ``docs/licenses.md``.

    Raises
    ------
    DataError
        As ``checked_licenses``.
    """
    licenses = checked_licenses(packages, weights, policy)
    used = {identifier for expression in licenses.values() for identifier in identifiers(expression)}
    lines = [
        "# Licenses",
        "",
        "<!-- Made by `python tools/supply_chain/licenses.py --write`; not edited by hand. -->",
        "",
        f"Acuity is under Apache-2.0. Its image holds the {len(packages)} packages below, as `{LOCK}` pins them, and "
        "the weights marked so. The expressions are SPDX's. The license texts are in the packages' metadata, which the "
        f"image keeps (`*.dist-info`), and in each bundle's `LICENSE`. `{POLICY}` is the policy: any other license, "
        "and an unknown one, fails the build. What the label server and the training need besides is not listed here.",
        "",
        "## Why each license may be there",
        "",
        "| license | reason |",
        "|---|---|",
        *(f"| {name} | {reason} |" for name, reason in policy.allowed.items() if name in used),
        "",
        "Terms without an SPDX identifier, each for the named components only:",
        "",
        "| | components | text | reason |",
        "|---|---|---|---|",
        *(
            f"| {name} | {', '.join(entry.components)} | {entry.text} | {entry.reason} |"
            for name, entry in policy.references.items()
        ),
        "",
        "## Weights",
        "",
        "| weights | version | license | trained on | in the image | SHA-256 |",
        "|---|---|---|---|---|---|",
        *(
            f"| {item.name} | {item.version} | {licenses[item.name]} | {item.data} | "
            f"{'yes' if item.package or item.name in IN_THE_IMAGE else 'no'} | `{item.sha256}` |"
            for item in weights
        ),
        "",
        "## Packages",
        "",
        "Where metadata name no SPDX expression, the last column says what was read instead.",
        "",
        "| package | version | license | read in |",
        "|---|---|---|---|",
        *(
            f"| {package.name} | {package.version} | {licenses[package.name]} | "
            f"{policy.determined.get(package.name, ('', ''))[1]} |"
            for package in packages
        ),
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the page; the exit code is 0, or the error's own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE} instead of printing it")
    options = parser.parse_args(arguments)
    try:
        text = page(read_packages(REPOSITORY), read_weights(REPOSITORY), read_policy(REPOSITORY))
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.write:
        (REPOSITORY / PAGE).write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
