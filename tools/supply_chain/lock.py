"""The locked packages of the container image and of the workbench, read from their locks as uv writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = REPOSITORY / "deploy" / "image"
LOCK = IMAGE / "requirements.lock"
WORKBENCH_LOCKS = tuple(REPOSITORY / "deploy" / "workbench" / f"{name}.lock" for name in ("requirements", "nodeps"))

_PIN = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)((?:\n    #.*)*)", re.MULTILINE)


def read_versions(lock: str) -> dict[str, str]:
    """Normalized name -> version, such as ``2.13.0+cpu``."""
    return {canonicalize_name(name): version for name, version, _, _ in _PIN.findall(lock)}


def read_dependents(lock: str) -> dict[str, list[str]]:
    """Normalized name -> the packages that need it, from uv's ``# via`` comments; "" stands for the image itself."""
    return {canonicalize_name(name): list(_dependents(via.splitlines())) for name, _, _, via in _PIN.findall(lock)}


def _dependents(comments: Iterable[str]) -> Iterable[str]:
    for line in comments:
        words = line.replace("# via", "#").lstrip(" #").split()
        if words and words[0] == "-r":
            yield ""
        elif words and words[0] != "-c":
            yield canonicalize_name(words[0])
