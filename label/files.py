"""Files that are the old one or the new one, never a part, and the notes that MONAI Label wants kept."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock


def write_whole(target: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a file beside ``target`` and put it in its place in one step, or leave nothing.

    The file given to ``write`` has the suffixes of ``target`` (.nii.gz), which writers go by.
    """
    with scratch_folder(target.parent) as folder:
        path = folder / target.name
        write(path)
        with path.open("rb") as written:
            os.fsync(written.fileno())  # the name must not reach the disk before what it names
        os.replace(path, target)


def write_json(content: object, target: Path) -> None:
    """Write JSON as ``write_whole`` does; what JSON does not know becomes text."""
    write_whole(target, lambda path: path.write_text(json.dumps(content, indent=2, default=str) + "\n"))


def remembered(file: Path, state: object, make: Callable[[], Any]) -> Any:
    """JSON that ``make`` makes, kept in a file until ``state``, JSON too, is another; never for None."""
    kept = json.loads(file.read_text()) if file.is_file() and state is not None else {}
    if "content" not in kept or kept["state"] != state:
        kept = {"state": state, "content": make()}
        write_json(kept, file)
    return kept["content"]


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder in ``parent``, made if absent, that is gone in the end; only this user can read it."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".writing-") as name:
        yield Path(name)


class Notes:
    """Small JSON objects by key, safe between processes.

    Parameters
    ----------
    folder : made if absent, readable by this user only; files are named by digests of the keys
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read(self, *key: str) -> dict[str, Any]:
        """The note of ``key``; empty where there is none."""
        try:
            found: dict[str, Any] = json.loads(self._file(key).read_text())
        except FileNotFoundError:
            return {}
        return found

    def write(self, info: dict[str, Any], *key: str) -> None:
        """Replace the note of ``key``."""
        with FileLock(self._folder / ".lock"):
            write_json(info, self._file(key))

    def update(self, info: dict[str, Any], *key: str) -> None:
        """Set those items of ``key`` that ``info`` has."""
        with FileLock(self._folder / ".lock"):
            write_json(self.read(*key) | info, self._file(key))

    def remove(self, *key: str) -> None:
        """Forget ``key``."""
        self._file(key).unlink(missing_ok=True)

    def _file(self, key: tuple[str, ...]) -> Path:
        return self._folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:40]}.json"
