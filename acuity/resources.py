"""Files that come with the package, and the hash of any file."""

from __future__ import annotations

import hashlib
from pathlib import Path


def config_file(name: str) -> Path:
    """A file or folder of ``configs/``: beside the package in a checkout and in a MAP, inside it in a wheel."""
    return _shipped(Path("configs", name))


def released_bundles() -> Path:
    """The folder of the released bundles; in a wheel it holds the two that the application runs."""
    return _shipped(Path("bundles"))


def _shipped(name: Path) -> Path:
    package = Path(__file__).parent
    return package / name if (package / name).exists() else package.parent / name


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
