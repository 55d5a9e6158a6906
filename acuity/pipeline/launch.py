"""From options to the end of the process: signals, logging, models, the graph, the exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from acuity.pipeline.options import Options
from acuity.pipeline.result import Interrupted
from acuity.pipeline.run import Run, set_up_logging
from acuity.pipeline.stages import Models, load_models

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def launch(options: Options, graph: Callable[[Run, Models], None]) -> NoReturn:
    """Run ``graph`` for ``options`` and end the process with the run's exit code.

    The graph runs on a thread of its own: Python handles signals on the main thread only, and not while that waits
    inside a C++ scheduler. After a signal the outputs are withdrawn, ``result.json`` says so, and the process ends at
    once, with the thread.

    Parameters
    ----------
    graph : performs the stages of the run; returns when the last one has ended
    """
    set_up_logging(options.verbosity)
    run = Run(options)
    try:
        _handle_signals()
        run.open()
        models = run.perform("load models", lambda: load_models(options.models))
        if models is not None:
            _wait_for(run, lambda: graph(run, models))
    except Interrupted as interrupted:
        run.fail(interrupted)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # publishing takes milliseconds and is not left half done
    code = run.finish()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread that is still at work must not delay the end, nor holoscan change the code


def _wait_for(run: Run, work: Callable[[], None]) -> None:
    """Do the work on another thread; on this one, wait for it and for signals, which raise Interrupted."""

    def target() -> None:
        try:
            work()
        except BaseException as error:
            run.fail(error)

    thread = threading.Thread(target=target, name="graph", daemon=True)
    thread.start()
    while thread.is_alive():
        _handle_signals()  # repeatedly, because holoscan sets handlers of its own when its graph starts
        thread.join(0.1)


def _handle_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)
