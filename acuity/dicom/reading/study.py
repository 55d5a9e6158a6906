"""The content of a study, from its headers alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydicom import Dataset

from acuity.volume import Grid


@dataclass(frozen=True)
class Stack:
    """One volume of a series before its pixels are read.

    Parameters
    ----------
    grid : shape and affine (LPS mm)
    datasets : classic: one dataset a slice, sorted along k; enhanced: the one multi-frame dataset
    frames : enhanced: the 0-based frame number of each slice, sorted along k; None for classic
    frame_of_reference_uid : None if absent
    attributes : the attributes that tell this volume from the others of its series, such as {"EchoTime": 90.0}
    """

    grid: Grid
    datasets: tuple[Dataset, ...] = field(repr=False)
    frames: tuple[int, ...] | None = None
    frame_of_reference_uid: str | None = None
    attributes: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """One series: the volumes it holds, or why it is refused.

    ``verdict`` is "ok" or "refused"; ``code`` is "ok" or the refusing error's code; ``reason`` is a
    sentence for people. ``datasets`` are all that were found, also when refused. Warnings are
    sentences; none of them holds a patient identifier.
    """

    series_uid: str
    description: str
    modality: str
    verdict: str
    code: str
    reason: str
    stacks: tuple[Stack, ...] = ()
    datasets: tuple[Dataset, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """All series of one study, in the order of their series numbers, and the files that were passed over."""

    study_uid: str
    series: tuple[Series, ...]
    ignored: tuple[tuple[str, str], ...] = ()  # (path relative to the input, reason)
