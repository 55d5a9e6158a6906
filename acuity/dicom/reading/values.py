"""Values of DICOM elements, read so that a corrupt one is a refusal and not an accident."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from acuity.errors import InconsistentHeadersError


def read_value(ds: Dataset, keyword: str) -> Any:
    """The value of ``keyword``, None if absent or empty.

    Raises
    ------
    InconsistentHeadersError : the element's bytes are no value of its type
    """
    try:
        value = ds.get(keyword)
    except Exception as error:  # pydicom converts on access, and raises in many ways
        raise InconsistentHeadersError(
            f"{keyword} holds no valid value.", rule="Every header of a series must be readable."
        ) from error
    return None if value is None or (hasattr(value, "__len__") and len(value) == 0) else value


def quiet_value(ds: Dataset, keyword: str) -> Any:
    """The value of ``keyword``, None if absent, empty or corrupt: for what only helps, where nothing depends on it."""
    try:
        return read_value(ds, keyword)
    except InconsistentHeadersError:
        return None


def number(ds: Dataset, keyword: str) -> float | None:
    """The first value of ``keyword`` as a finite float, None if absent or empty. Raises as ``read_value``."""
    numbers = to_numbers(read_value(ds, keyword), keyword)
    return None if numbers is None else float(numbers[0])


def to_numbers(value: Any, keyword: str, count: int | None = None) -> NDArray[np.float64] | None:
    """A value as finite floats, ``count`` of them if given; None stays None. Raises as ``read_value``."""
    if value is None:
        return None
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all() or (count is not None and len(numbers) != count):
        needed = "a finite number" if count is None else f"{count} finite numbers"
        raise InconsistentHeadersError(f"{keyword} is not {needed}.", rule="Every header of a series must be readable.")
    return numbers
