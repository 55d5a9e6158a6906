"""How functions that take their time report how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[float], None]  # takes the share that is done, 0 to 1


def share(progress: Progress | None, start: float, stop: float) -> Progress:
    """What a part of the work reports to, which takes the whole from ``start`` to ``stop``; None reports to nobody."""
    return lambda done: progress(start + (stop - start) * done) if progress else None


@contextmanager
def bar(name: str, *, shown: bool = True) -> Iterator[Progress]:
    """A bar in percent on standard error."""
    with tqdm(
        total=100, desc=name, unit="%", disable=not shown, bar_format="{desc}: {percentage:3.0f}%|{bar}|"
    ) as line:
        yield lambda done: line.update(round(100 * done) - line.n) and None
        line.update(100 - line.n)  # where a part of the work was not needed
