"""Safe reading of DICOM headers: no corrupt value ends in an accidental exception.

Geometry is read strictly: a corrupt value raises. Values that only help to choose or to describe a series are read
quietly: a corrupt value counts as absent. Frames are numbered from 0.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, Sequence
from pydicom.valuerep import DA, TM

from acuity.console import printable
from acuity.errors import InconsistentHeadersError

_UID = re.compile(r"[0-9.]{1,64}")  # PS3.5 section 9; leading zeros, which it forbids, are in use


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Without pydicom's warnings, which quote values, and values identify patients. Also a decorator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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
    """The value of ``keyword``, None if absent, empty or corrupt."""
    try:
        return read_value(ds, keyword)
    except InconsistentHeadersError:
        return None


def quiet_text(ds: Dataset, keyword: str) -> str:
    """The value of ``keyword`` as text without control characters, "" if absent, empty, zero or corrupt."""
    return _text_of(quiet_value(ds, keyword))


def _text_of(value: Any) -> str:
    """A value as text without control characters, which a terminal would obey; "" where it is none."""
    try:
        return printable(str(value or "")).replace("\n", "")
    except (LookupError, ValueError):  # a name's bytes are decoded only here
        return ""


def uid_text(ds: Dataset, keyword: str) -> str:
    """The UID under ``keyword``, "" if it is absent, or is not one UID."""
    value = quiet_value(ds, keyword)
    return str(value) if is_uid(value) else ""


def is_uid(value: Any) -> bool:
    """Whether a value is one UID."""
    return isinstance(value, str) and _UID.fullmatch(value) is not None


def items_of(ds: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence.

    Raises
    ------
    InconsistentHeadersError : the element is no sequence
    """
    items = read_value(ds, keyword)
    if items is not None and not isinstance(items, Sequence):
        raise InconsistentHeadersError(f"{keyword} is no sequence.", rule="Every header of a series must be readable.")
    return list(items or ())


def quiet_items(ds: Dataset, keyword: str) -> list[Dataset]:
    """As ``items_of``; none if the element is corrupt."""
    try:
        return items_of(ds, keyword)
    except InconsistentHeadersError:
        return []


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


def quiet_number(value: Any) -> float | None:
    """The first of a value's numbers, None where it is no finite number; bytes are text of unknown type."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").strip("\0 ").split("\\")
    try:
        first = float(values_of(value)[0])
    except (TypeError, ValueError, IndexError):
        return None
    return first if np.isfinite(first) else None


def values_of(value: object) -> list[Any]:
    """Zero, one or many values of an element as a list."""
    if value is None or value == "":
        return []
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def seconds(date: str, time: str) -> float | None:
    """A date and a time (DA and TM, PS3.5 section 6.2) as seconds since year 1; a time zone is left out.

    An absent date is day 1. None where the date is no day, or the time lacks hour or minute.
    """
    clock, _, fraction = re.split("[+-]", time.replace(":", ""))[0].strip().partition(".")
    if len(clock) < 4:
        return None
    try:
        day = DA(date.strip() or "00010101")
        moment = TM(f"{clock.ljust(6, '0')[:6]}.{fraction[:6]}")
    except ValueError:
        return None
    assert day is not None and moment is not None, "both texts hold something"
    return (day.toordinal() * 24 + moment.hour) * 3600.0 + moment.minute * 60 + moment.second + moment.microsecond / 1e6


def functional_groups(ds: Dataset, frame: int) -> list[Dataset]:
    """The functional groups of a frame (PS3.3 C.7.6.16), its own before the shared ones; none in a classic image.

    Raises
    ------
    InconsistentHeadersError : see ``read_value``
    IndexError : the object describes fewer frames
    """
    own = items_of(ds, "PerFrameFunctionalGroupsSequence")
    shared = items_of(ds, "SharedFunctionalGroupsSequence")
    return [*([own[frame]] if own else []), *shared[:1]]


def macros(ds: Dataset, sequence: str, frame: int | None) -> Iterator[Dataset]:
    """The items of one functional group macro that hold for a frame, its own before the shared one.

    There are none for ``frame`` None: a classic image has everything at the top level.
    """
    for group in [] if frame is None else functional_groups(ds, frame):
        yield from items_of(group, sequence)[:1]


def macro(ds: Dataset, sequence: str, frame: int = 0) -> Dataset:
    """The first of ``macros``; an empty dataset where there is none."""
    return next(macros(ds, sequence, frame), Dataset())


def frame_value(ds: Dataset, frame: int | None, sequence: str, keyword: str) -> Any:
    """A value from one of the ``macros`` of a frame, or else from the top level, where some vendors keep it."""
    for item in macros(ds, sequence, frame):
        if (value := read_value(item, keyword)) is not None:
            return value
    return read_value(ds, keyword)


class Header:
    """The attributes of one image for quiet reading: those of one frame of an enhanced image, or a dataset's own."""

    def __init__(self, ds: Dataset, frame: int = 0) -> None:
        try:
            elements = [element for group in functional_groups(ds, frame) for element in group]
            self._levels = [element.value[0] for element in elements if element.VR == "SQ" and element.value]
        except Exception:  # corrupt groups; pydicom raises in many ways
            self._levels = []
        self._levels.append(ds)

    def get(self, *keywords: str) -> Any:
        """The first of ``keywords`` that has a value: in any macro of the frame, any shared one, or at the top."""
        values = (quiet_value(level, keyword) for keyword in keywords for level in self._levels)
        return next((value for value in values if value is not None), None)

    def text(self, *keywords: str) -> str:
        """As ``get``, as text without blanks at its ends; "" where there is none."""
        return _text_of(self.get(*keywords)).strip()

    def items(self, keyword: str) -> list[Dataset]:
        """As ``get``, the items of a sequence; none where it is no sequence."""
        return [item for item in values_of(self.get(keyword)) if isinstance(item, Dataset)]

    def words(self, keyword: str) -> frozenset[str]:
        """All values of ``keyword`` as defined terms: upper case, without blanks."""
        return frozenset(_text_of(value).strip().upper() for value in values_of(self.get(keyword))) - {""}

    def positive(self, *keywords: str) -> float | None:
        """As ``get``, as a number; None where it is none, or not above 0."""
        value = quiet_number(self.get(*keywords))
        return value if value and value > 0 else None
