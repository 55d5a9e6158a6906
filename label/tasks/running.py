"""The inference that is going on: how far it is, and a way to stop it."""

from __future__ import annotations

import logging
from threading import Lock

from fastapi import HTTPException

_log = logging.getLogger(__name__)


class Running:
    """One inference at a time; asked and stopped from other threads than the one that works.

    MONAI Label has this for training alone; see ``label.server`` for the addresses.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._task: str | None = None
        self._done = 0.0
        self._stopped = False

    def begin(self, task: str) -> None:
        """A task starts."""
        with self._lock:
            self._task, self._done, self._stopped = task, 0.0, False

    def report(self, done: float) -> None:
        """Tell how much is done, 0 to 1.

        Raises
        ------
        HTTPException : 409, where someone stopped the task
        """
        with self._lock:
            tenth = int(done * 10) > int(self._done * 10)
            self._done = max(self._done, min(1.0, done))
            task, stopped = self._task, self._stopped
        if stopped:
            raise HTTPException(409, f"{task} was stopped.")
        if tenth:
            _log.info("%s: %d %%", task, round(done * 100))

    def end(self) -> None:
        """The task is done or failed."""
        with self._lock:
            self._task = None

    def stop(self) -> bool:
        """Stop the task at its next step; False where none runs."""
        with self._lock:
            self._stopped = self._task is not None
            return self._stopped

    def status(self) -> dict[str, str | float] | None:
        """Name of the task and the part that is done; None where none runs."""
        with self._lock:
            return None if self._task is None else {"model": self._task, "done": round(self._done, 3)}


RUNNING = Running()  # of this process
