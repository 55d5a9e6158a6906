"""Ctrl-C and SIGTERM while a run works, in this process or in one of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType

from acuity.signals import SIGNALS, say_interrupted


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


def run_process(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command, pass signals on to it, and return its exit code, 128 + the signal's number for a signal."""
    process: subprocess.Popen | None = None
    early: list[int] = []  # signals that came before the process was there

    def pass_on(number: int, frame: FrameType | None) -> None:
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        process = subprocess.Popen(command, env=environment)
        for number in early:
            process.send_signal(number)
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code >= 0:
        return code
    say_interrupted(-code)  # it had not come so far as to say so itself
    return 128 - code
