"""Outputs that appear only when they are complete.

Everything is written to a hidden folder inside the output folder (in a container the output folder is a mount
of its own, so that nothing outside it could be renamed into it), then renamed to where it belongs.
``result.json`` comes last: a success that it reports is there in full.
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
    OutputError
        When the folder cannot be written to, or already holds something other than the ``result.json`` of a
        run without success.
    """

    def __init__(self, output: Path) -> None:
        self.output = output.absolute()
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            require_free(self.output)
            self.path = Path(tempfile.mkdtemp(prefix=".acuity-", dir=self.output))
        except OSError as error:
            raise not_writable(error) from error

    def publish(self) -> None:
        """Move all that was written into the output folder, or nothing of it.

        Raises
        ------
        OutputError
            When a rename fails; what was moved before it is moved back.
        """
        moved: list[Path] = []
        try:
            (self.output / RESULT).unlink(missing_ok=True)
            for source in sorted(self.path.iterdir()):
                source.rename(self.output / source.name)
                moved.append(source)
        except OSError as error:
            for source in moved:
                (self.output / source.name).rename(source)
            raise not_writable(error) from error

    def discard(self) -> None:
        """Delete what was written and not published; does nothing where nothing is left."""
        for _ in range(3):  # after a signal another thread may still be writing
            shutil.rmtree(self.path, ignore_errors=True)


def require_free(output: Path) -> None:
    """Refuse to mix results: the folder may hold hidden files and the ``result.json`` of a run without success.

    Raises
    ------
    OutputError
        When it holds anything else.
    """
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
    """Write ``result.json`` in one step: a reader finds the whole of it or none."""
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
    """The refusal that an operating system's error on writing stands for."""
    return OutputError(
        f"The output folder cannot be written to: {error.strerror or type(error).__name__}.",
        rule="The results need a folder with write permission and room.",
        remedy="Check the folder's owner, its permissions and the space that is left, or name another one.",
    )
