"""Files that come with the package, the hash of any file, and who can change it."""

from __future__ import annotations

import hashlib
import os
import stat
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


def changeable_by_others(path: Path) -> Path | None:
    """The file, or the folder above it, that another account than this one and root can change; None for none.

    Whoever can write a folder can put another file in the place of one in it, but for folders like /tmp, where only
    owners replace what is theirs.
    """
    path = path.resolve()
    for place in (path, *path.parents):
        found = place.stat()
        shared = found.st_mode & stat.S_IWOTH or (
            found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid())
        )
        sticky = place != path and found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()) or (shared and not sticky):
            return place
    return None
