"""Outputs that appear only when they are complete.

Everything is written to a hidden folder inside the output folder, then renamed to its place. In a container the output
folder is a mount of its own, into which nothing outside could be renamed. ``result.json`` comes last: where it reports
a success, all outputs are in place.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from acuity.errors import OutputError

RESULT = "result.json"
FOLDERS = ("series", "seg", "report", "overview")


class Staging:
    """A hidden folder to write to, and the way from there into the output folder.

    Parameters
    ----------
    output : the output folder; created, with its parents, if it does not exist

    Raises
    ------
    OutputError : the folder cannot be written to, or holds anything but the ``result.json`` of a run without success
    """

    def __init__(self, output: Path) -> None:
        self.output = output.absolute()
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            _require_free(self.output)
            self.path = Path(tempfile.mkdtemp(prefix=".acuity-", dir=self.output))
        except OSError as error:
            raise not_writable(error) from error

    def publish(self) -> None:
        """Move everything that was written into the output folder, or nothing of it; ``result.json`` comes last.

        Raises
        ------
        OutputError : a rename fails; files and folders moved before it are moved back
        """
        moved: list[Path] = []
        try:
            (self.output / RESULT).unlink(missing_ok=True)
            for source in sorted(self.path.iterdir(), key=lambda path: (path.name == RESULT, path.name)):
                source.rename(self.output / source.name)
                moved.append(source)
        except OSError as error:
            for source in moved:
                (self.output / source.name).rename(source)
            raise not_writable(error) from error

    def discard(self) -> None:
        """Delete what was written and not published."""
        for _ in range(3):  # after a signal another thread may still be writing
            shutil.rmtree(self.path, ignore_errors=True)


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
    """Write ``result.json`` in one step, so that a reader never finds a part of it."""
    partial = folder / f".{RESULT}.{os.getpid()}"
    try:
        partial.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(folder / RESULT)
    finally:
        partial.unlink(missing_ok=True)


def _without_success(result: Path) -> bool:
    try:
        return json.loads(result.read_text(encoding="utf-8"))["status"] in ("refused", "failed")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def not_writable(error: OSError) -> OutputError:
    """The refusal for an operating system's error on writing."""
    return OutputError(
        f"The output folder cannot be written to: {error.strerror or type(error).__name__}.",
        rule="The results need a folder with write permission and room.",
        remedy="Check the folder's owner, its permissions and the space that is left, or name another one.",
    )
