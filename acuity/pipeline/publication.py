"""Outputs that appear only when they are complete.

Everything is written to a hidden folder inside the output folder, then renamed to its place. In a container the output
folder is a mount of its own, into which nothing outside could be renamed. ``result.json`` comes last, and only when
everything else is on the disk: where it reports a success, all outputs are in place, even after a power cut.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeGuard

from acuity.errors import OutputError

RESULT = "result.json"
FOLDERS = ("series", "seg", "report", "overview")

# What the operating system says of a file that has no room, whichever file it is: the disk is full, the account's
# quota is used up, files may be no longer, the file system is mounted read-only.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# Some network and FUSE file systems can neither lock nor flush a folder.
_NOT_SUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.ENOLCK, errno.EACCES)


class Staging:
    """A hidden folder to write to, and the way from there into the output folder.

    Parameters
    ----------
    output : the output folder; created, with its parents, if it does not exist

    Raises
    ------
    OutputError : the folder cannot be written to, another run writes to it, or it holds anything but the
        ``result.json`` of a run without success
    """

    def __init__(self, output: Path) -> None:
        self.output = output.absolute()
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            _require_free(self.output)
            self._lock = _locked(self.output)
        except OSError as error:
            raise not_writable(error) from error
        try:
            _require_free(self.output)  # once more: the run that had the lock may have published
            self.path = Path(tempfile.mkdtemp(prefix=".acuity-", dir=self.output))
        except OSError as error:
            self.release()
            raise not_writable(error) from error
        except OutputError:
            self.release()
            raise

    def publish(self) -> None:
        """Move everything that was written into the output folder, or nothing of it; ``result.json`` comes last.

        Raises
        ------
        OutputError : a file cannot be made durable or moved; what was moved before it is moved back. Or the folder is
            no longer free: where it cannot be locked, another run may have published to it
        """
        _require_free(self.output)
        moved: list[Path] = []
        try:
            _make_durable(self.path)
            (self.output / RESULT).unlink(missing_ok=True)
            for source in sorted(self.path.iterdir(), key=lambda path: (path.name == RESULT, path.name)):
                if source.name == RESULT:
                    _flush_folder(self.output)
                source.rename(self.output / source.name)
                moved.append(source)
            _flush_folder(self.output)
        except OSError as error:
            for source in reversed(moved):  # the result first: it must not speak of outputs that are gone
                (self.output / source.name).rename(source)
            raise not_writable(error) from error

    def is_free(self) -> bool:
        """Whether the output folder still holds no results, so that the ``result.json`` of a failure may go there."""
        try:
            _require_free(self.output)
        except (OutputError, OSError):
            return False
        return True

    def discard(self) -> None:
        """Delete what was written and not published."""
        for _ in range(3):  # after a signal another thread may still be writing
            shutil.rmtree(self.path, ignore_errors=True)

    def release(self) -> None:
        """Let other runs use the output folder; the end of the process does so too."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _locked(output: Path) -> int | None:
    """Lock a folder until the descriptor that is returned is closed; None where its file system knows no locks.

    Raises
    ------
    OutputError : another process has locked it
    """
    descriptor = os.open(output, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OutputError(
            "Another run is writing to the output folder.",
            rule="Results are written to an empty folder, so that those of two runs never mix.",
            remedy="Name another output folder.",
        ) from error
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _NOT_SUPPORTED:
            raise
        return None
    return descriptor


def _make_durable(folder: Path) -> None:
    """Wait until all files and folders below ``folder`` are on the disk; many at once, which journals do in one go."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(_flush, files))
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        _flush_folder(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Make renames in ``folder`` durable, where its file system can."""
    try:
        _flush(folder)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def _require_free(output: Path) -> None:
    """Raise OutputError where the folder holds more than hidden files and the ``result.json`` of a failed run."""
    entries = [entry for entry in output.iterdir() if not entry.name.startswith(".") and entry.name != "lost+found"]
    if all(entry.name == RESULT and _without_success(entry) for entry in entries):
        return
    earlier = any(entry.name == RESULT or entry.name in FOLDERS for entry in entries)
    raise OutputError(
        f"The output folder holds {'an earlier result' if earlier else f'{len(entries)} other files or folders'}.",
        rule="Results are written to an empty folder, so that those of two runs never mix.",
        remedy="Name another output folder, or empty this one.",
    )


def write_result(result: dict[str, object], folder: Path) -> None:
    """Write ``result.json`` in one step, so that a reader never finds a part of it, not even after a power cut."""
    partial = folder / f".{RESULT}.{os.getpid()}"
    try:
        partial.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        _flush(partial)
        partial.replace(folder / RESULT)
        _flush_folder(folder)
    finally:
        partial.unlink(missing_ok=True)


def _without_success(result: Path) -> bool:
    try:
        return json.loads(result.read_text(encoding="utf-8"))["status"] in ("refused", "failed")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def concerns_output(error: BaseException, folder: Path | None = None) -> TypeGuard[OSError]:
    """Whether a file could not be written (and not: read); every file below ``folder`` is one that is written."""
    if not isinstance(error, OSError):
        return False
    if error.errno in _NO_ROOM:
        return True
    return folder is not None and isinstance(error.filename, str | Path) and Path(error.filename).is_relative_to(folder)


def not_writable(error: OSError) -> OutputError:
    """The refusal for an operating system's error on writing."""
    return OutputError(
        f"The output folder cannot be written to: {error.strerror or type(error).__name__}.",
        rule="The results need a folder with write permission and room.",
        remedy="Check the folder's owner, its permissions and the space that is left, or name another one.",
    )
