"""A bar with the percentage of the stage that works, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from acuity.models.progress import Progress
from acuity.pipeline.run import R, Run

_NAME = "{desc} ..."  # of a stage that does not say how far it is
_BAR = "{desc:<16}{percentage:4.0f} % |{bar:30}| {elapsed}, {remaining} left"


class RunWithBar(Run):
    """A run that shows which stage works; the line goes when the stage has ended."""

    _bar: tqdm | None = None

    def perform(self, stage: str, work: Callable[[], R]) -> R | None:
        """As ``Run.perform``."""

        def shown() -> R:
            shape: Any = {"total": 100, "bar_format": _NAME, "mininterval": 0, "miniters": 1}
            with tqdm(desc=stage, leave=False, file=sys.stderr, **shape) as self._bar:
                return work()

        return super().perform(stage, shown)

    def progress(self, stage: str) -> Progress:
        """A function that moves the bar."""
        bar, log = self._bar, super().progress(stage)
        if bar is None:
            return log
        bar.bar_format = _BAR

        def report(done: float) -> None:
            bar.update(100 * done - bar.n)
            log(done)

        return report
