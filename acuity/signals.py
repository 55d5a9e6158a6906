"""Ctrl-C and SIGTERM from the first moment of a program.

Nothing slow is imported here: every interpreter of the environment imports this module when it starts.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # typing's own takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def end_on_signals() -> None:
    """From now on end the process at once, with one line and the shell's code: 130 or 143.

    Not by an exception: a library that is being imported or loads a model may catch it, or wrap it in one of its own.
    """
    for number in SIGNALS:
        signal.signal(number, _end)


def say_interrupted(number: int) -> None:
    """Say on stderr which signal ended the program."""
    os.write(2, f"error: interrupted: Stopped by signal {number}.\n".encode())


def is_program(words: Sequence[str]) -> bool:
    """Whether an interpreter that was started with ``words`` (``sys.orig_argv``) runs a program of Acuity's.

    Programs are the installed command ``acuity`` and ``python -m acuity.MODULE``; in a clone also ``app.py``, the
    scripts in ``tools/``, and the modules of ``label`` and ``workbench``.
    """
    if words[1:2] == ["-m"]:
        package = "".join(words[2:3]).partition(".")[0]
        return package == "acuity" or (package in ("label", "workbench") and os.getcwd() == _ROOT)
    script = os.path.abspath("".join(words[1:2]))
    if script == os.path.join(sys.prefix, "bin", "acuity"):
        return True
    return script == os.path.join(_ROOT, "app.py") or os.path.dirname(script) == os.path.join(_ROOT, "tools")


def _end(number: int, frame: FrameType | None) -> NoReturn:
    say_interrupted(number)
    os._exit(128 + number)
