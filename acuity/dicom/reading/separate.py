"""Separate volumes at the same positions by echo, time point, b-value or image component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from acuity.dicom.reading.slices import Slice
from acuity.errors import DuplicatePositionsError, MissingSliceError

# In this order: what was measured, what was computed from it, then when. The first that divides the slices
# into complete volumes is taken.
_TRAITS = (
    "StackID",
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "FlipAngle",
    "DiffusionBValue",
    "ComplexImageComponent",
    "ImageType",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "AcquisitionNumber",
)
# A time differs from slice to slice of a 2D acquisition too, so that volumes are told by its order at each position.
_TIMES = ("TriggerTime", "AcquisitionTime")


@dataclass(frozen=True)
class SeparatedVolume:
    """The slices of one volume, and the attributes that tell it from the other volumes of its series."""

    slices: list[Slice]
    attributes: dict[str, object]


def separate(slices: list[Slice], places: list[int]) -> list[SeparatedVolume]:
    """Divide slices so that no volume has two at one position.

    A division is accepted only if all its volumes cover the same positions, each once.

    Parameters
    ----------
    slices : of one series and orientation
    places : for each slice the number of its position

    Raises
    ------
    DuplicatePositionsError : nothing tells the slices at one position apart
    MissingSliceError : there are several volumes, and some positions lack a slice that the others have
    """
    where = {id(s): place for s, place in zip(slices, places, strict=True)}
    parts = _separate(slices, where)
    if parts is None:
        _refuse(Counter(places))
    return parts


def _separate(slices: list[Slice], where: dict[int, int]) -> list[SeparatedVolume] | None:
    if max(Counter(where[id(s)] for s in slices).values()) == 1:
        return [SeparatedVolume(slices, {})]
    for trait in (*_TRAITS, *_dimension_traits(slices)):
        divided = _divide(_by_value(slices, trait), trait, where)
        if divided is not None:
            return divided
    for trait in _TIMES:
        divided = _divide(_by_order(slices, trait, where), trait, where)
        if divided is not None:
            return divided
    return None


def _divide(groups: dict[object, list[Slice]], trait: str, where: dict[int, int]) -> list[SeparatedVolume] | None:
    """Separate each group further; None unless there are several that cover the same positions."""
    if len(groups) < 2:
        return None
    covers = [{where[id(s)] for s in group} for group in groups.values()]
    if any(cover != covers[0] for cover in covers):
        return None
    parts = []
    for value, group in groups.items():
        inner = _separate(group, where)
        if inner is None:
            return None
        parts += [SeparatedVolume(part.slices, {trait: value} | part.attributes) for part in inner]
    return parts


def _by_value(slices: list[Slice], trait: str) -> dict[object, list[Slice]]:
    groups: dict[object, list[Slice]] = {}
    for s in slices:
        groups.setdefault(s.traits.get(trait), []).append(s)
    return dict(sorted(groups.items(), key=lambda item: (item[0] is None, _order(item[0]))))


def _order(value: object) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, (int, float)) else (0.0, str(value))


def _by_order(slices: list[Slice], trait: str, where: dict[int, int]) -> dict[object, list[Slice]]:
    """Divide by time: the first image at each position makes one volume, the second the next, and so on.

    Nothing is returned unless each volume ends before the next begins.
    """
    if any(trait not in s.traits for s in slices):
        return {}
    positions: dict[int, list[Slice]] = {}
    for s in sorted(slices, key=lambda s: s.traits[trait]):
        positions.setdefault(where[id(s)], []).append(s)
    if len({len(column) for column in positions.values()}) > 1:
        return {}
    volumes = [list(volume) for volume in zip(*positions.values(), strict=True)]
    for one, two in zip(volumes, volumes[1:], strict=False):
        if max(s.traits[trait] for s in one) >= min(s.traits[trait] for s in two):
            return {}
    return {_time_label(volume[0], trait): volume for volume in volumes}


def _time_label(s: Slice, trait: str) -> object:
    """Time of day as DICOM writes it (TM); trigger times are numbers (ms)."""
    time = s.traits[trait]
    if trait != "AcquisitionTime":
        return time
    day = time % 86400
    return f"{int(day // 3600):02d}{int(day % 3600 // 60):02d}{day % 60:09.6f}"


def _dimension_traits(slices: list[Slice]) -> list[str]:
    return sorted({trait for s in slices for trait in s.traits if trait.startswith("DimensionIndexValues")})


def _refuse(counts: Counter[int]) -> NoReturn:
    usual = _mode(counts.values())
    fewer = [n for n in counts.values() if n < usual]
    if usual > 1 and fewer and max(counts.values()) == usual:
        raise MissingSliceError(
            f"At {len(fewer)} of {len(counts)} positions there are fewer images than the {usual} of the others.",
            rule="Several volumes in a series must cover the same positions.",
            remedy="Send the series again from the archive.",
        )
    doubled = sum(n > 1 for n in counts.values())
    raise DuplicatePositionsError(
        f"At {doubled} of {len(counts)} positions there are several images (up to {max(counts.values())}).",
        rule="Volumes at the same positions must differ in echo, inversion or acquisition time, b-value, time point, "
        "or image type, each complete.",
        remedy="Export each volume as a series of its own, or remove the copies.",
    )


def _mode(numbers: Iterable[int]) -> int:
    """The most frequent number, the largest of several."""
    frequencies = Counter(numbers)
    return max(frequencies, key=lambda n: (frequencies[n], n))
