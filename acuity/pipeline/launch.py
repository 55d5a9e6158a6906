"""From options to the end of the process: signals, logging, models, the graph, the exit code."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from acuity.pipeline.result import Interrupted
from acuity.pipeline.run import Run, set_up_logging
from acuity.pipeline.stages import Models, load_models
from acuity.pipeline.stopping import Stop
from acuity.signals import SIGNALS


def launch(run: Run, graph: Callable[[Run, Models], object]) -> NoReturn:
    """Open the run, load the models, run ``graph`` and end the process with the run's exit code.

    All of it works on a thread of its own: Python handles signals on the main thread only, and not while that waits
    inside a C++ scheduler. After a signal the outputs are withdrawn, ``result.json`` says so, and the process ends at
    once, with the thread.

    Parameters
    ----------
    graph : performs the stages of the run; returns when the last one has ended
    """
    stop = Stop()
    stop.listen()
    set_up_logging(run.options.verbosity)
    run.open()

    def work() -> None:
        try:
            models = run.perform("load models", lambda: load_models(run.options.models))
            if models is not None:
                graph(run, models)
        except BaseException as error:
            run.fail(error)

    thread = threading.Thread(target=work, name="graph", daemon=True)
    if run.error is None:
        thread.start()
    while thread.is_alive() and stop.signum is None:
        thread.join(0.05)
        stop.listen()  # repeatedly, because holoscan sets handlers of its own when its graph starts
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # publishing takes milliseconds and is not left half done
    interrupted = Interrupted(stop.signum) if stop.signum is not None and run.error is None else None
    if interrupted:
        run.fail(interrupted)
        _take_away(run.folder)
    code = run.finish()
    sys.stdout.flush()
    sys.stderr.flush()
    if interrupted:
        _take_away(run.folder)  # a folder that the thread made again before it noticed
    os._exit(code)  # a thread that is still at work must not delay the end, nor holoscan change the code


def _take_away(folder: Path) -> None:
    """Delete a folder that another thread may still write to: renamed first, so that its next file cannot be opened."""
    gone = folder.with_name(f"{folder.name}-gone")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
