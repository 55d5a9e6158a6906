"""What goes into the image's build context, and how a folder is made the same byte for byte each time."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

from acuity.errors import BundleNotFoundError, DataError
from acuity.pipeline.stages import SEGMENTATION_BUNDLE, SUPER_RESOLUTION_BUNDLE
from acuity.resources import file_sha256

BUNDLES = (SUPER_RESOLUTION_BUNDLE, SEGMENTATION_BUNDLE)
CODE = ("app.py", "acuity", "operators", "configs/sequences.yaml", "configs/result.schema.json")
# Folders of acuity/ that neither the application nor a bundle that it loads imports.
LEFT_OUT = ("acuity/cli.py", "acuity/commands", "acuity/demo", "acuity/research")
# Of a bundle: what inference reads, and what says what it is. Its other configs name classes of LEFT_OUT.
BUNDLE_FILES = ("LICENSE*", "configs/metadata.json", "configs/inference.json", "models/model.pt", "docs/*")
DOCUMENTS = ("README.md", "LICENSE", "CHANGELOG.md", ":(glob)docs/*.md")


@dataclass(frozen=True)
class Revision:
    """What is packaged.

    Parameters
    ----------
    commit : hash of 40 digits
    time : of the commit, in seconds since 1970; every file of a context gets it
    dirty : whether a file that goes into an image differs from the commit's
    """

    commit: str
    time: int
    dirty: bool

    @property
    def label(self) -> str:
        """The commit, marked where it is not the whole truth."""
        return self.commit + ("-dirty" if self.dirty else "")

    @property
    def created(self) -> str:
        """The time as RFC 3339 writes it."""
        return datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_revision(repository: Path) -> Revision:
    """The commit that is checked out.

    Raises
    ------
    DataError
        When the folder is no git repository.
    """
    commit, time = _git(repository, "log", "-1", "--format=%H %ct").split()
    parts = (*CODE, *DOCUMENTS, "app.yaml", "packaging", *(f"bundles/{bundle}" for bundle in BUNDLES))
    return Revision(commit, int(time), bool(_git(repository, "status", "--porcelain", "--", *parts)))


def copy_code(repository: Path, folder: Path) -> None:
    """The application's modules and configs, laid out as in the repository."""
    files = [name for name in _files(repository, CODE) if not _is_below(name, LEFT_OUT)]
    _copy(repository, files, folder)


def copy_bundles(repository: Path, folder: Path) -> None:
    """The two released bundles, a subfolder each.

    Raises
    ------
    BundleNotFoundError
        When the weights of one are absent.
    """
    for bundle in BUNDLES:
        source = repository / "bundles" / bundle
        files = [name for name in _files(source, (".",)) if any(fnmatch(name, part) for part in BUNDLE_FILES)]
        if "models/model.pt" not in files:
            raise BundleNotFoundError(
                f"bundles/{bundle}/models/model.pt was not found.",
                rule="An image holds the weights of the application's two bundles.",
                remedy="Check out the repository whole.",
            )
        _copy(source, files, folder / bundle)


def copy_documents(repository: Path, folder: Path) -> None:
    """What is to be read: description, license, list of changes, guides."""
    _copy(repository, _files(repository, DOCUMENTS), folder)


def normalize(folder: Path, time: int) -> None:
    """Give everything below and the folder itself one time and one of two modes, whatever umask and clock say."""
    for path in [folder, *folder.rglob("*")]:
        executable = path.is_dir() or path.read_bytes()[:2] == b"#!"
        path.chmod(0o755 if executable else 0o644)
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (time, time))


def digest(folder: Path) -> str:
    """SHA-256 over path, mode, time and content of all that lies below, in order of the paths."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        content = "" if path.is_dir() else file_sha256(path)
        name = path.relative_to(folder).as_posix()
        total.update(f"{name}\0{status.st_mode:o}\0{int(status.st_mtime)}\0{content}\n".encode())
    return total.hexdigest()


def sizes(folder: Path) -> dict[str, int]:
    """Bytes by part: each entry of the folder, the models one by one."""
    parts = sorted([entry for entry in folder.iterdir() if entry.name != "models"] + list(folder.glob("models/*")))
    return {part.relative_to(folder).as_posix(): _bytes(part) for part in parts}


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _files(folder: Path, paths: Iterable[str]) -> list[str]:
    """Files below the paths that git tracks or would, relative to ``folder``: no caches, no products, no data."""
    listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
    return sorted(name for name in set(listed.split("\0")) if name and (folder / name).is_file())


def _is_below(name: str, places: Iterable[str]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def _copy(source: Path, names: Iterable[str], folder: Path) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise DataError(
            "The repository's commit cannot be read.",
            rule="An image is made of a commit of the repository, which it names.",
            remedy="Call the command in a clone, with git installed.",
        ) from None
    return done.stdout.strip()
