"""Checks the licences of what the image holds against a policy, and writes the table of `docs/licences.md`."""

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

POLICY = "packaging/supply_chain/licences.yaml"
PAGE = "docs/licences.md"
_OPERATORS = re.compile(r"\s+(?:AND|OR)\s+|[()]")


@dataclass(frozen=True)
class Reference:
    """Terms without an SPDX identifier: the components that may have them, where they are to be read, why they may."""

    components: tuple[str, ...]
    text: str
    reason: str


@dataclass(frozen=True)
class Policy:
    """Which licences may be there.

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
    """The policy of ``packaging/supply_chain/licences.yaml``."""
    content: dict[str, Any] = yaml.safe_load((repository / POLICY).read_text())
    return Policy(
        allowed=content["allowed"],
        references={
            name: Reference(tuple(entry["components"]), entry["text"], entry["reason"])
            for name, entry in content["references"].items()
        },
        determined={name: (entry["licence"], entry["source"]) for name, entry in content["determined"].items()},
    )


def licence_of(package: Package, policy: Policy) -> str:
    """The SPDX expression of a package: what the policy determined, else what its metadata say.

    Raises
    ------
    DataError
        When neither gives a valid expression: an unknown licence is no licence.
    """
    stated = policy.determined[package.name][0] if package.name in policy.determined else package.licence
    try:
        return str(canonicalize_license_expression(stated))
    except InvalidLicenseExpression as error:
        raise DataError(
            f"The licence of {package.name} {package.version} is not known: its metadata say "
            f"{stated or 'nothing'!r} and {', '.join(package.classifiers) or 'have no classifier'}.",
            rule="Each component's licence is an SPDX expression.",
            remedy=f"Read the licence texts in its wheel and write what they say under `determined` in {POLICY}.",
        ) from error


def identifiers(expression: str) -> list[str]:
    """The licences of an expression, each with its exception (WITH)."""
    return [part.strip() for part in _OPERATORS.split(expression) if part.strip()]


def violations(licences: Mapping[str, str], policy: Policy) -> list[str]:
    """What the policy does not allow, a line each.

    Parameters
    ----------
    licences : component -> SPDX expression; of alternatives (OR) each must be allowed
    """
    found = []
    for component, expression in licences.items():
        for identifier in identifiers(expression):
            reference = policy.references.get(identifier)
            if reference is None and identifier not in policy.allowed:
                found.append(f"{component}: {identifier} is not allowed")
            elif reference is not None and component.partition("/")[0] not in reference.components:
                found.append(f"{component}: {identifier} is allowed for {', '.join(reference.components)} only")
    stale = policy.determined.keys() - {component.partition("/")[0] for component in licences}
    return found + [f"{name}: stands under `determined`, and is not in the image" for name in sorted(stale)]


def checked_licences(packages: Iterable[Package], weights: Iterable[Weights], policy: Policy) -> dict[str, str]:
    """Component -> SPDX expression.

    Raises
    ------
    DataError
        When a licence is unknown or not allowed.
    """
    licences = {package.name: licence_of(package, policy) for package in packages}
    licences |= {item.name: str(canonicalize_license_expression(item.licence)) for item in weights}
    if found := violations(licences, policy):
        raise DataError(
            "; ".join(found) + ".",
            rule=f"The licences of the image are those that {POLICY} allows.",
            remedy="Do without the component, or have its licence judged and write the reason there.",
        )
    return licences


def page(packages: Sequence[Package], weights: Sequence[Weights], policy: Policy) -> str:
    """The text of ``docs/licences.md``.

    Raises
    ------
    DataError
        As ``checked_licences``.
    """
    licences = checked_licences(packages, weights, policy)
    used = {identifier for expression in licences.values() for identifier in identifiers(expression)}
    lines = [
        "# Licences",
        "",
        "<!-- Made by `python tools/supply_chain/licences.py --write`; not edited by hand. -->",
        "",
        f"Acuity is under Apache-2.0. Its image holds the {len(packages)} packages below, as `{LOCK}` pins them, and "
        "the weights marked so. The expressions are SPDX's. The licence texts are in the packages' metadata, which the "
        f"image keeps (`*.dist-info`), and in each bundle's `LICENSE`. `{POLICY}` is the policy: any other licence, "
        "and an unknown one, fails the build. What the label server and the training need besides is not listed here.",
        "",
        "## Why each licence may be there",
        "",
        "| licence | reason |",
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
        "| weights | version | licence | trained on | in the image | SHA-256 |",
        "|---|---|---|---|---|---|",
        *(
            f"| {item.name} | {item.version} | {licences[item.name]} | {item.data} | "
            f"{'yes' if item.package or item.name in IN_THE_IMAGE else 'no'} | `{item.sha256}` |"
            for item in weights
        ),
        "",
        "## Packages",
        "",
        "Where metadata name no SPDX expression, the last column says what was read instead.",
        "",
        "| package | version | licence | read in |",
        "|---|---|---|---|",
        *(
            f"| {package.name} | {package.version} | {licences[package.name]} | "
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
