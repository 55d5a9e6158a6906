"""How far a task is, for ``GET /infer/`` and ``GET /train/``: the viewer's panel shows it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Literal

from fastapi import HTTPException

from acuity.anatomy import Sequence
from acuity.assessment import missing_text
from acuity.errors import AcuityError, ArchiveError, InputNotFoundError, MissingSequenceError
from label.files import write_json

Task = Literal["find", "sharpen", "correct", "train"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """A task, how far it is, and how it ended.

    Parameters
    ----------
    task : what is done: the tumor is found, the images are sharpened, a mask is corrected, the model is trained
    step, of : steps that are done, and all; ``of`` is 0 until their number is known
    part : of a training, the network that is trained, "coarse" or "fine"
    outcome : a sentence for people once the task has ended; None before
    failed : whether it ended with an error
    """

    task: Task
    step: int = 0
    of: int = 0
    part: str | None = None
    outcome: str | None = None
    failed: bool = False


@dataclass(frozen=True)
class CaseStatus:
    """Whether the tumor can be sought in a case, for ``GET /case/``: what an annotator reads who opens it.

    Parameters
    ----------
    ready : whether all four sequences are there and sound
    message : a sentence or two, such as "FLAIR is missing."; "" for a case that is ready
    missing : the sequences that are not there
    remedy : advice; "" for a case that is ready
    """

    ready: bool
    message: str = ""
    missing: tuple[str, ...] = ()
    remedy: str = ""


def case_status(find: Callable[[], object]) -> CaseStatus:
    """The status of a case.

    Parameters
    ----------
    find : looks the case up, and raises an error where it is not complete, or not sound

    Raises
    ------
    InputNotFoundError, ArchiveError : there is no such case, or it cannot be told
    """
    try:
        find()
    except (InputNotFoundError, ArchiveError):
        raise
    except MissingSequenceError as error:
        text = missing_text([Sequence(name) for name in error.missing]) if error.missing else error.found
        return CaseStatus(False, text, error.missing, f"Send the series, or name it: {error.rule}")
    except AcuityError as error:
        return CaseStatus(False, error.found, (), error.remedy)
    return CaseStatus(True)


class Running:
    """The inference that is going on, one at a time; asked and stopped from other threads than the one that works.

    MONAI Label has this for training alone; see ``label.web`` for the addresses.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._status: Status | None = None
        self._stopped = False

    def begin(self, task: Task) -> None:
        """A task starts."""
        with self._lock:
            self._status, self._stopped = Status(task, 0, 100), False

    def report(self, done: float) -> None:
        """Tell how much is done, 0 to 1.

        Raises
        ------
        HTTPException : 409, where someone stopped the task
        """
        with self._lock:
            before, stopped = self._status, self._stopped
            if before is None:
                return
            percent = max(before.step, min(100, round(100 * done)))
            self._status = replace(before, step=percent)
        if stopped:
            raise HTTPException(409, "The task was stopped.")
        if percent // 10 > before.step // 10:
            _log.info("%s: %d %%", before.task, percent)

    def end(self) -> None:
        """The task is done or failed."""
        with self._lock:
            self._status = None

    def stop(self) -> bool:
        """Stop the task at its next step; False where none runs."""
        with self._lock:
            self._stopped = self._status is not None
            return self._stopped

    def status(self) -> Status | None:
        """How far the task is, in percent; None where none runs."""
        with self._lock:
            return self._status


RUNNING = Running()  # of this process


class TrainingStatus:
    """The status of a training, in a file: the training runs in a process of its own.

    Parameters
    ----------
    path : of the file; the next training replaces it
    run : the name that the server gave to this training
    """

    _EVERY_S = 1.0

    def __init__(self, path: Path, run: str) -> None:
        self._path, self._run = path, run
        self._status = Status("train")
        self._written = 0.0

    def report(self, step: int, of: int, part: str) -> None:
        """Tell how many steps are done; written once a second at most."""
        self._status = Status("train", step, of, part)
        if time.monotonic() - self._written >= self._EVERY_S:
            self._write()

    def end(self, outcome: str) -> None:
        """Tell how the training ended."""
        self._status = replace(self._status, outcome=outcome)
        self._write()

    def _write(self) -> None:
        write_json({"run": self._run, "status": asdict(self._status)}, self._path)
        self._written = time.monotonic()


def training_status(path: Path, run: str, state: str) -> Status:
    """The status of a training, from its file and from what MONAI Label says of its process.

    Parameters
    ----------
    path, run : as ``TrainingStatus`` has them; the file of another training says nothing of this one
    state : of MONAI Label's task: SUBMITTED, RUNNING, DONE, STOPPED or ERROR
    """
    noted = _read(path, run)
    if state in ("SUBMITTED", "RUNNING"):
        return replace(noted, outcome=None)  # it is noted a moment before the process ends
    if state == "STOPPED":
        return replace(noted, outcome="The training was stopped.")
    if state == "DONE":
        return replace(noted, outcome=noted.outcome or "The training is done.")
    return replace(noted, outcome=f"The training failed. {noted.outcome or 'Its log says why.'}", failed=True)


def _read(path: Path, run: str) -> Status:
    try:
        content = json.loads(path.read_text())
        return Status(**content["status"]) if content["run"] == run else Status("train")
    except (OSError, ValueError, KeyError, TypeError):
        return Status("train")
