"""How functions that take their time report how far they are."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float], None]  # takes the share that is done, 0 to 1


def share(progress: Progress | None, start: float, stop: float) -> Progress:
    """What a part of the work reports to, which takes the whole from ``start`` to ``stop``; None reports to nobody."""
    return lambda done: progress(start + (stop - start) * done) if progress else None
