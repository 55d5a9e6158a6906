"""Signals to a program, timed from its first act."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from pathlib import Path


def listens(process: subprocess.Popen[str]) -> bool:
    """Whether a program has handlers of its own for both signals, and is more than an interpreter that starts."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return True
    caught = int(re.findall(r"SigCgt:\s*([0-9a-f]+)", status)[0], 16) if "SigCgt" in status else -1
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def interrupt(process: subprocess.Popen[str], number: signal.Signals, seconds: float) -> tuple[int, str]:
    """Send a signal so long after the program's first act; its exit code and what it said."""
    while not listens(process):
        time.sleep(0.002)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    return process.returncode, said
