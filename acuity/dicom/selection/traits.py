"""What tells images at one position apart: echo, inversion, b-value, component, time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from pydicom import Dataset

from acuity.dicom.reading.values import quiet_value, read_value

# Finds the value of a keyword that an enhanced object keeps in the functional group of the given name.
Lookup = Callable[[str, str], Any]


def classic_traits(ds: Dataset) -> dict[str, Any]:
    """What may tell a single-frame image from others at its position, by keyword; absent traits are left out."""
    numeric = (
        "EchoTime",
        "EchoNumbers",
        "InversionTime",
        "FlipAngle",
        "TemporalPositionIdentifier",
        "AcquisitionNumber",
        "TriggerTime",
    )
    traits: dict[str, Any] = {keyword: _rounded(quiet_value(ds, keyword)) for keyword in numeric}
    traits["DiffusionBValue"] = _rounded(b_value(ds))
    traits["ImageType"] = _joined(quiet_value(ds, "ImageType"))
    traits["ComplexImageComponent"] = quiet_value(ds, "ComplexImageComponent") or _ge_component(ds)
    traits["AcquisitionTime"] = _seconds(quiet_value(ds, "AcquisitionDate"), quiet_value(ds, "AcquisitionTime"))
    return {key: value for key, value in traits.items() if value is not None}


def frame_traits(ds: Dataset, group: Dataset, lookup: Lookup) -> dict[str, Any]:
    """The same of a frame whose own functional groups are ``group``; ``lookup`` finds shared values too."""
    sources = {
        "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
        "InversionTime": ("MRModifierSequence", "InversionTimes"),
        "FlipAngle": ("MRTimingAndRelatedParametersSequence", "FlipAngle"),
        "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
        "TemporalPositionIndex": ("FrameContentSequence", "TemporalPositionIndex"),
        "AcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
        "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    }
    traits: dict[str, Any] = {key: _rounded(lookup(*source)) for key, source in sources.items()}
    if traits["EchoTime"] is None:
        traits["EchoTime"] = _rounded(lookup("MREchoSequence", "EchoTime"))
    traits["ImageType"] = _joined(lookup("MRImageFrameTypeSequence", "FrameType"))
    traits["ComplexImageComponent"] = lookup("MRImageFrameTypeSequence", "ComplexImageComponent")
    traits["StackID"] = lookup("FrameContentSequence", "StackID")
    traits["AcquisitionTime"] = _moment(lookup("FrameContentSequence", "FrameAcquisitionDateTime"))
    content = (read_value(group, "FrameContentSequence") or [Dataset()])[0]
    traits |= _dimensions(ds, content)
    return {key: value for key, value in traits.items() if value is not None}


def _dimensions(ds: Dataset, content: Dataset) -> dict[str, Any]:
    """The indices that the object itself declares (PS3.3 C.7.6.17), but for those that count stacks and positions."""
    values = read_value(content, "DimensionIndexValues")
    if values is None:
        return {}
    pointers = [read_value(item, "DimensionIndexPointer") for item in read_value(ds, "DimensionIndexSequence") or ()]
    places = {0x00209056, 0x00209057, 0x00200032}  # StackID, InStackPositionNumber, ImagePositionPatient
    indices = np.atleast_1d(values).tolist()
    return {
        f"DimensionIndexValues[{n}]": index
        for n, (pointer, index) in enumerate(zip(pointers, indices, strict=False))
        if pointer is not None and int(pointer) not in places
    }


def b_value(ds: Dataset) -> float | None:
    """The diffusion b-value in s/mm^2: DiffusionBValue, else the vendors' private element, else None."""
    if (value := _rounded(quiet_value(ds, "DiffusionBValue"))) is not None:
        return value
    for group, creator, element in (
        (0x0019, "SIEMENS MR HEADER", 0x0C),
        (0x2001, "Philips Imaging DD 001", 0x03),
        (0x0043, "GEMS_PARM_01", 0x39),
    ):
        try:
            private = _rounded(ds.private_block(group, creator)[element].value)
        except Exception:  # absent, or of unknown type under implicit VR
            continue
        if private is not None:
            return private % 1e9 if creator.startswith("GEMS") else private  # GE adds 1e9 to some
    return None


def _ge_component(ds: Dataset) -> str | None:
    """GE's private image kind (0043,102F): its ImageType does not tell magnitude from phase."""
    try:
        kind = int(ds.private_block(0x0043, "GEMS_PARM_01")[0x2F].value)
    except Exception:  # absent, or of unknown type under implicit VR
        return None
    return {0: "MAGNITUDE", 1: "PHASE", 2: "REAL", 3: "IMAGINARY"}.get(kind)


def _rounded(value: Any) -> float | None:
    """The first number of a value to four decimals: one echo time may be written as 6.312 and as 6.31200."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").strip("\0 ").split("\\")
    try:
        first = float(np.atleast_1d(value).tolist()[0])
    except (TypeError, ValueError, IndexError):
        return None
    return round(first, 4) if math.isfinite(first) else None


def _joined(value: Any) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else "\\".join(str(part) for part in value)


def _seconds(date: Any, time: Any) -> float | None:
    """Seconds from the year 0 (in days of the calendar's own counting) for a date and time, DA and TM."""
    text = str(time or "").replace(":", "")
    return _moment(f"{str(date or '00010101').replace('.', '')[:8]}{text}") if text else None


def _moment(value: Any) -> float | None:
    """A DT value, YYYYMMDDHHMMSS.FFFFFF, as seconds; its zone is the same within a study and left out."""
    text = str(value or "")[:21].split("+")[0].split("-")[0]
    try:
        day = int(text[:4]) * 372 + int(text[4:6]) * 31 + int(text[6:8])
        return day * 86400.0 + int(text[8:10]) * 3600 + int(text[10:12]) * 60 + float(text[12:] or 0)
    except ValueError:
        return None
