"""Checks the licenses of what the image holds against a policy, and writes `docs/licenses.md`.

pip-licenses reads the packages' metadata in an environment that holds the lock, and `deploy/image/licenses.yaml` says
which licenses may be there and what the license texts say where metadata do not.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from acuity.errors import AcuityError, DataError
from tools.supply_chain.lock import IMAGE, LOCK, REPOSITORY, read_versions
from tools.supply_chain.weights import Weights, read_weights

POLICY = IMAGE / "licenses.yaml"
PAGE = REPOSITORY / "docs" / "licenses.md"
_OPERATORS = re.compile(r"\s+(?:AND|OR)\s+|[()]")
_ROW = re.compile(r"^\| (\S+) \| (\S+) \| ([^|`]+) \| [^|]*\|$", re.MULTILINE)
_HEAD = """\
# Licenses

<!-- Made by `python tools/supply_chain/licenses.py --write`; not edited by hand. -->

Acuity is under Apache-2.0. Its image holds the packages below, as `deploy/image/requirements.lock` pins them, and the
weights marked so. The expressions are SPDX's. The license texts are in the packages' metadata, which the image keeps
(`*.dist-info`), and in each bundle's `LICENSE`. `deploy/image/licenses.yaml` is the policy: any other license, and an
unknown one, is an error. The packages that only the label server and the training need are not listed.
"""


@dataclass(frozen=True)
class Policy:
    """The content of ``deploy/image/licenses.yaml``.

    Parameters
    ----------
    allowed : SPDX identifier, with its exception if any -> why it may be there
    references : LicenseRef-... -> the components that may have it, the place of its text, the reason
    determined : package -> its license as an SPDX expression, and the source, where metadata name none or a wrong one
    """

    allowed: Mapping[str, str]
    references: Mapping[str, Mapping[str, Any]]
    determined: Mapping[str, Mapping[str, str]]


def read_policy() -> Policy:
    """The policy of the repository."""
    return Policy(**yaml.safe_load(POLICY.read_text()))


def read_metadata(names: Iterable[str], python: str = sys.executable) -> dict[str, tuple[str, str]]:
    """Normalized name -> (version, license) of packages that the environment of ``python`` holds, by pip-licenses.

    The license is License-Expression of the metadata, else License; "UNKNOWN" where they name none.
    """
    command = [sys.executable, "-m", "piplicenses", "--python", python, "--with-system", "--from", "all"]
    done = subprocess.run(
        [*command, "--format", "json", "--packages", *names], stdout=subprocess.PIPE, text=True, check=True
    )
    found = {}
    for entry in json.loads(done.stdout):
        stated = [entry["License-Expression"], entry["License-Metadata"]]
        license = next((one for one in stated if one != "UNKNOWN"), "UNKNOWN")
        found[str(canonicalize_name(entry["Name"]))] = (entry["Version"], license)
    return found


def license_of(name: str, stated: str, policy: Policy) -> str:
    """The SPDX expression of a package: what the policy determined, else what its metadata state.

    Raises
    ------
    DataError
        When neither is a valid expression: an unknown license is no license.
    """
    determined = policy.determined.get(name, {}).get("license", stated)
    try:
        return str(canonicalize_license_expression(determined))
    except InvalidLicenseExpression:
        raise DataError(
            f"The license of {name} is not known: its metadata say {stated!r}.",
            rule="Each component's license is an SPDX expression.",
            remedy=f"Read the license texts in its wheel and write what they say under `determined` in {POLICY.name}.",
        ) from None


def violations(licenses: Mapping[str, str], policy: Policy) -> list[str]:
    """What the policy does not allow, a line each.

    Parameters
    ----------
    licenses : component -> SPDX expression; of alternatives (OR) each must be allowed
    """
    found = []
    for component, expression in licenses.items():
        for identifier in identifiers(expression):
            allowed = policy.references.get(identifier, {}).get("components")
            if allowed is None and identifier not in policy.allowed:
                found.append(f"{component}: {identifier} is not allowed")
            elif allowed is not None and component.partition("/")[0] not in allowed:
                found.append(f"{component}: {identifier} is allowed for {', '.join(allowed)} only")
    return found


def identifiers(expression: str) -> list[str]:
    """The licenses of an expression, each with its exception (WITH)."""
    return [part.strip() for part in _OPERATORS.split(expression) if part.strip()]


def page(versions: Mapping[str, str], metadata: Mapping[str, tuple[str, str]], weights: Sequence[Weights]) -> str:
    """The text of ``docs/licenses.md``.

    Parameters
    ----------
    versions : name -> locked version
    metadata : see ``read_metadata``

    Raises
    ------
    DataError
        When the environment does not hold the locked versions, or a license is unknown or not allowed.
    """
    policy = read_policy()
    if other := [name for name, locked in versions.items() if metadata.get(name, ("", ""))[0] != locked]:
        raise DataError(
            f"This environment does not hold the locked versions of {', '.join(other)}.",
            rule="Licenses are read in the packages that the image holds.",
            remedy="Install deploy/image/requirements.lock in an environment and name its interpreter with --python.",
        )
    licenses = {name: license_of(name, metadata[name][1], policy) for name in versions}
    if found := violations({**licenses, **{item.name: item.license for item in weights}}, policy):
        raise DataError(
            "; ".join(found) + ".",
            rule=f"The licenses of the image are those that {POLICY.name} allows.",
            remedy="Do without the component, or have its license judged and write the reason there.",
        )
    sources = {name: entry["source"] for name, entry in policy.determined.items()}
    sections = {
        "Why each license may be there": _table(("license", "reason"), policy.allowed.items()),
        "Terms without an SPDX identifier, for the named components only": _table(
            ("terms", "components", "text", "reason"),
            ((name, ", ".join(e["components"]), e["text"], e["reason"]) for name, e in policy.references.items()),
        ),
        "Weights": _table(
            ("weights", "version", "license", "trained on", "in the image", "SHA-256"),
            (
                (w.name, w.version, w.license, w.data, "yes" if w.in_the_image else "no", f"`{w.sha256}`")
                for w in weights
            ),
        ),
        "Packages": "Where metadata name no SPDX expression, the last column says what was read instead.\n\n"
        + _table(
            ("package", "version", "license", "read in"),
            ((name, version, licenses[name], sources.get(name, "")) for name, version in versions.items()),
        ),
    }
    return "\n".join([_HEAD, *(f"## {title}\n\n{body}" for title, body in sections.items())])


def read_page() -> dict[str, tuple[str, str]]:
    """Package -> (version, SPDX expression) as ``docs/licenses.md`` states them."""
    table = PAGE.read_text().partition("\n## Packages\n")[2]
    return {name: (version, license) for name, version, license in _ROW.findall(table)[1:]}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the page; the exit code is 0, or the error's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/licenses.md instead of printing it")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment (default: this one)")
    options = parser.parse_args(arguments)
    versions = read_versions(LOCK.read_text())
    try:
        text = page(versions, read_metadata(versions, options.python), read_weights())
    except AcuityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.write:
        PAGE.write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
