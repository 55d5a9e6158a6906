"""Traits that tell images at one position apart: echo, inversion, b-value, component, time."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
from pydicom import Dataset

from acuity.console import printable
from acuity.dicom.reading.headers import (
    frame_value,
    items_of,
    macro,
    quiet_number,
    quiet_text,
    quiet_value,
    read_value,
    seconds,
)

_CLASSIC_NUMBERS = (
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "FlipAngle",
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "TriggerTime",
)
# Trait: where an enhanced object keeps it for each frame.
_FRAME_NUMBERS = {
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "InversionTime": ("MRModifierSequence", "InversionTimes"),
    "FlipAngle": ("MRTimingAndRelatedParametersSequence", "FlipAngle"),
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
    "TemporalPositionIndex": ("FrameContentSequence", "TemporalPositionIndex"),
    "AcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
}
_PRIVATE_B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C),
    (0x2001, "Philips Imaging DD 001", 0x03),
    (0x0043, "GEMS_PARM_01", 0x39),
)
# StackID, InStackPositionNumber, ImagePositionPatient
_PLACE_DIMENSIONS = {0x00209056, 0x00209057, 0x00200032}


def classic_traits(ds: Dataset) -> dict[str, Any]:
    """The traits of a single-frame image by keyword; absent ones are left out."""
    traits: dict[str, Any] = {keyword: _rounded(quiet_value(ds, keyword)) for keyword in _CLASSIC_NUMBERS}
    traits["DiffusionBValue"] = b_value(ds)
    traits["ImageType"] = _joined(quiet_value(ds, "ImageType"))
    traits["ComplexImageComponent"] = quiet_value(ds, "ComplexImageComponent") or _ge_component(ds)
    traits["AcquisitionTime"] = _moment(quiet_text(ds, "AcquisitionDate"), quiet_text(ds, "AcquisitionTime"))
    return _printable(traits)


def frame_traits(ds: Dataset, frame: int) -> dict[str, Any]:
    """The traits of one frame (from 0) of a multi-frame image."""
    value = partial(frame_value, ds, frame)
    traits: dict[str, Any] = {trait: _rounded(value(*place)) for trait, place in _FRAME_NUMBERS.items()}
    if traits["EchoTime"] is None:
        traits["EchoTime"] = _rounded(value("MREchoSequence", "EchoTime"))
    traits["ImageType"] = _joined(value("MRImageFrameTypeSequence", "FrameType"))
    traits["ComplexImageComponent"] = value("MRImageFrameTypeSequence", "ComplexImageComponent")
    traits["StackID"] = value("FrameContentSequence", "StackID")
    moment = str(value("FrameContentSequence", "FrameAcquisitionDateTime") or "")
    traits["AcquisitionTime"] = _moment(moment[:8], moment[8:])
    traits |= _dimensions(ds, frame)
    return _printable(traits)


def _printable(traits: dict[str, Any]) -> dict[str, Any]:
    """Without traits that are absent, and without control characters in texts: messages name traits."""
    return {
        key: printable(value) if isinstance(value, str) else value for key, value in traits.items() if value is not None
    }


def _dimensions(ds: Dataset, frame: int) -> dict[str, Any]:
    """The dimension indices of a frame (PS3.3 C.7.6.17), except those that count stacks and positions."""
    indices = read_value(macro(ds, "FrameContentSequence", frame), "DimensionIndexValues")
    if indices is None:
        return {}
    pointers = [read_value(item, "DimensionIndexPointer") for item in items_of(ds, "DimensionIndexSequence")]
    return {
        f"DimensionIndexValues[{n}]": index
        for n, (pointer, index) in enumerate(zip(pointers, np.atleast_1d(indices).tolist(), strict=False))
        if pointer is not None and int(pointer) not in _PLACE_DIMENSIONS
    }


def b_value(ds: Dataset) -> float | None:
    """The diffusion b-value in s/mm^2: DiffusionBValue, else the vendors' private element, else None."""
    if (public := _rounded(quiet_value(ds, "DiffusionBValue"))) is not None:
        return public
    for group, creator, element in _PRIVATE_B_VALUES:
        if (private := _rounded(_private_value(ds, group, creator, element))) is not None:
            return private % 1e9 if creator.startswith("GEMS") else private  # GE adds 1e9 to some
    return None


def _ge_component(ds: Dataset) -> str | None:
    """GE's private image kind (0043,102F): its ImageType does not tell magnitude from phase."""
    kind = quiet_number(_private_value(ds, 0x0043, "GEMS_PARM_01", 0x2F))
    return None if kind is None else {0: "MAGNITUDE", 1: "PHASE", 2: "REAL", 3: "IMAGINARY"}.get(int(kind))


def _private_value(ds: Dataset, group: int, creator: str, element: int) -> Any:
    try:
        return ds.private_block(group, creator)[element].value
    except Exception:  # absent or corrupt
        return None


def _rounded(value: Any) -> float | None:
    """The first number of a value to four decimals: one echo time may be written as 6.312 and as 6.31200."""
    first = quiet_number(value)
    return None if first is None else round(first, 4)


def _joined(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else "\\".join(str(part) for part in value)


def _moment(date: str, time: str) -> float | None:
    """As ``seconds``; a date whose month and day are zeros is an anonymizer's filler, and counts as absent."""
    return seconds("" if re.fullmatch(r"\d{4}\.?00\.?00", date) else date, time)
