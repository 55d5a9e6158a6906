"""One run of the application: its stages, its messages, and its end."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from acuity.console import say
from acuity.errors import AcuityError, InputNotFoundError
from acuity.pipeline.options import Options
from acuity.pipeline.publication import Staging, concerns_output, not_writable, write_result
from acuity.pipeline.result import Manifest, add_sections, describe_error, exit_code_of, list_outputs, steps_of

_log = logging.getLogger(__name__)


class StageResult(Protocol):
    """What a stage hands on."""

    def summary(self) -> str:
        """One line for people."""


@runtime_checkable
class Described(Protocol):
    """A stage's result that has a part in ``result.json``."""

    def describe(self) -> dict[str, Any]:
        """Sections of ``result.json`` by their names."""


R = TypeVar("R", bound=StageResult)


class Run:
    """Performs stages, keeps the first error, and publishes the outputs if there was none.

    Stages may run on any thread, but one at a time.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.manifest = Manifest()
        self.error: BaseException | None = None
        self._expected: list[str] = []
        self._staging: Staging | None = None
        self._started = time.perf_counter()

    def expect(self, stage: str) -> None:
        """Announce a stage; a run that did not perform it is no success."""
        self._expected.append(stage)

    def fail(self, error: BaseException) -> None:
        """End the run with this error, unless it has one already: what follows the first is its consequence."""
        if self.error is None:
            self.error = error

    def open(self) -> None:
        """Take possession of the output folder; a refusal is kept in ``error``."""
        try:
            self._staging = Staging(self.options.output)
        except AcuityError as error:
            self.fail(error)

    @property
    def folder(self) -> Path:
        """Where outputs are written until they are complete."""
        if self._staging is None:
            raise RuntimeError("the run has no output folder; open() comes first")
        return self._staging.path

    def perform(self, stage: str, work: Callable[[], R]) -> R | None:
        """Do the work of a stage, time it, report it and keep its description for ``result.json``.

        Returns
        -------
        The stage's result, or None after an error, of this stage or one before: the error is kept in ``error``
        and not raised, so that no framework prints it (its text may hold header values) or changes the exit code.
        """
        if self.error is not None:
            return None
        started = time.perf_counter()
        try:
            result = work()
            if isinstance(result, Described):
                add_sections(self.manifest.sections, result.describe())
        except Exception as error:
            written = None if self._staging is None else self._staging.path
            self.fail(not_writable(error) if concerns_output(error, written) else error)
            return None
        finally:
            self.manifest.timings[stage] = time.perf_counter() - started
        self._say(f"{stage:<16}{self.manifest.timings[stage]:6.1f} s  {result.summary()}")
        return result

    def progress(self, stage: str) -> Callable[[float], None]:
        """A function to call with the part of a stage that is done, 0 to 1; every tenth is logged."""
        told = 0

        def report(done: float) -> None:
            nonlocal told
            if int(done * 10) > told:
                told = int(done * 10)
                _log.info("%s: %d %%", stage, told * 10)

        return report

    def finish(self) -> int:
        """Publish the outputs or withdraw them, write ``result.json``, and return the process's exit code."""
        if self.error is None:
            self.error = self._publish()
        if self._staging is not None:
            self._staging.discard()
        if self.error is not None:
            self._report_error(self.error)
        else:
            for warning in self.manifest.warnings:
                self._say(f"warning: {warning}")
            self._say(f"{'total':<16}{self.manifest.timings['total']:6.1f} s  {self.options.output}")
        if self._staging is not None:
            self._staging.release()
        return exit_code_of(self.error)

    def _publish(self) -> BaseException | None:
        """Make the outputs visible; returns the error that prevented it."""
        assert self._staging is not None
        missing = [stage for stage in self._expected if stage not in self.manifest.timings]
        if missing:
            return RuntimeError(f"stages that did not run: {', '.join(missing)}")
        try:
            outputs = list_outputs(self.folder)
            self.manifest.timings["total"] = time.perf_counter() - self._started
            write_result(self.manifest.as_dict(error=None, outputs=outputs), self.folder)
            self._staging.publish()
        except OSError as error:
            return not_writable(error)
        except AcuityError as error:
            return error
        return None

    def _report_error(self, error: BaseException) -> None:
        """Say what happened, in ``result.json`` and on standard error."""
        described = describe_error(error)
        assert described is not None
        self.manifest.timings["total"] = time.perf_counter() - self._started
        if not isinstance(error, AcuityError):
            _log.info("%s", steps_of(error))
        parts = (described["found"], described["rule"], described["remedy"])
        say(f"error: {described['code']}: {' '.join(part for part in parts if part)}")
        if self._staging is None or not self._staging.is_free():
            return  # the output folder could not be used, or holds the result of another run, which must stay
        try:
            write_result(self.manifest.as_dict(error=error, outputs=[]), self.options.output)
        except OSError as failure:
            say(f"error: result.json could not be written: {failure.strerror}")

    def _say(self, line: str) -> None:
        if self.options.verbosity >= 0:
            say(line)


def require_input(options: Options) -> None:
    """End the process of the application, with its code and ``result.json``, where its input does not exist.

    Nothing slow is imported: what is typed wrong is told at once.
    """
    if options.input.exists():
        return
    run = Run(options)
    run.open()
    run.fail(
        InputNotFoundError(
            f"The input, {options.input}, does not exist.",
            rule="-i names the folder of one DICOM study; without it HOLOSCAN_INPUT_PATH does, else it is ./input.",
            remedy="Give a folder that exists: python app.py -i STUDY -o OUT.",
        )
    )
    sys.exit(run.finish())


def set_up_logging(verbosity: int) -> None:
    """Log on standard error: warnings by default, details with ``-v``, all with ``-vv``.

    Libraries stay silent: their warnings quote header values, which may name a patient.
    """
    level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("acuity")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level)
    logging.getLogger().handlers = [logging.NullHandler()]
    warnings.simplefilter("ignore")
