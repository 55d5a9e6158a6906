"""Files that come with the package, and the hash of any file."""

from __future__ import annotations

import hashlib
from pathlib import Path


def config_file(name: str) -> Path:
    """A file or folder of ``configs/``: beside the package in a checkout and in a MAP, inside it in a wheel."""
    package = Path(__file__).parent
    inside = package / "configs" / name
    return inside if inside.exists() else package.parent / "configs" / name


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
