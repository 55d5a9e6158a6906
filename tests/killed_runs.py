"""Runs of the application that are killed, each in a process of its own: ``python -m tests.killed_runs STUDY MODELS``.

Each line of standard input is one run as JSON: its ``output``, and when it gets SIGKILL: ``after_s`` seconds, or before
its ``call``-th call of the kernel that opens, makes, renames or removes something of the output folder. With neither it
ends by itself. The answer is a line of JSON, too: ``code`` (-9: killed), ``seconds``, ``calls``, and ``renames``: the
numbers of those calls that rename or remove.

Processes are forked, for importing what a run needs takes far longer than a run on a small phantom.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from acuity.pipeline.graph import COMPUTING, WRITING, run_stages
from acuity.pipeline.launch import launch
from acuity.pipeline.options import Options
from acuity.pipeline.run import Run

_CHANGES = ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
_MOST_CALLS = 1 << 16
_CALLS = (*_CHANGES, "open", "os.mkdir", "os.listdir", "os.scandir")


def _run(study: Path, models: Path, order: dict[str, Any], shared: mmap.mmap) -> NoReturn:
    output, last, calls = str(order["output"]), order.get("call"), 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal calls
        if event in _CALLS and str(arguments[0]).startswith(output):
            calls += 1
            if calls == last:
                os.kill(os.getpid(), signal.SIGKILL)
            shared[calls] = 2 if event in _CHANGES else 1

    sys.addaudithook(watch)
    options = Options(input=study, output=Path(output), models=models, spacing=(9.0, 9.0, 9.0), verbosity=-1)
    launch(Run(options), lambda run, models: run_stages(run, models, (*COMPUTING, *WRITING)))


def main() -> None:
    """Perform the runs."""
    study, models = map(Path, sys.argv[1:])
    for line in sys.stdin:
        order = json.loads(line)
        shared = mmap.mmap(-1, _MOST_CALLS)
        started = time.perf_counter()
        if (pid := os.fork()) == 0:
            _run(study, models, order, shared)
        if "after_s" in order:
            time.sleep(order["after_s"])
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        kinds = bytes(shared)
        answer = {
            "code": code,
            "seconds": time.perf_counter() - started,
            "calls": sum(kind > 0 for kind in kinds),
            "renames": [number for number, kind in enumerate(kinds) if kind == 2],
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
