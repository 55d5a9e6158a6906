"""Ctrl-C and SIGTERM: what they do before a run begins, and while it works.

Nothing slow is imported here, so that a program can call ``end_on_signals`` first of all.
"""

from __future__ import annotations

import os
import signal
import subprocess
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_on_signals() -> None:
    """From now on end the process at once, with one line and the shell's code: 130 or 143.

    Not by an exception: a library that is being imported or loads a model may catch it, or wrap it in one of its own.
    """
    for number in SIGNALS:
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, f"error: interrupted: Stopped by signal {number}.\n".encode())
    os._exit(128 + number)


class Stop:
    """Remembers the first signal, for a main thread that waits for the work of another."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def listen(self) -> None:
        """Take over both signals; to be repeated where a library sets handlers of its own."""
        for number in SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signum = self.signum or number


def wait_for(process: subprocess.Popen) -> int:
    """Wait for a process, pass signals on to it, and return its exit code, 128 + the signal's number for a signal."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
