"""A source's header without what is not valid: nothing that a scanner or an anonymizer wrote may end a run."""

from __future__ import annotations

from math import isfinite
from typing import Any

from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.valuerep import DA, DT, TM, VR, validate_value

from acuity.console import printable
from acuity.dicom.reading.headers import is_uid, quiet_value, values_of

_MOMENTS = {VR.DA: DA, VR.DT: DT, VR.TM: TM}
_NUMBERS = (VR.DS, VR.IS, VR.FD, VR.FL)
# By these highdicom takes an image for one of a microscope's slides.
_FOREIGN = {tag_for_keyword(keyword) for keyword in ("ImageOrientationSlide", "ImageCenterPointCoordinatesSequence")}
_NOT_IN_TEXTS = str.maketrans("\n\\", " /")
_LIMITS = {VR.SH: 16, VR.LO: 64, VR.ST: 1024}  # characters, PS3.5 section 6.2


def readable(ds: Dataset) -> Dataset:
    """The public elements of ``ds`` that can be read and hold values of their type, as another dataset.

    Left out are elements whose bytes have no valid length or text, dates and times that are none, numbers that are not
    finite, UIDs that are none, and types that are not the dictionary's; in the items of sequences, too. Left out is
    also what would make highdicom take the image for one of another kind.
    """
    result = Dataset()
    for tag in tuple(ds.keys()):
        if not tag.is_private and tag not in _FOREIGN and (element := _element(ds, tag)) is not None:
            result[tag] = element
    return result


def fitting(ds: Dataset, keyword: str) -> Any:
    """A text, or several, cut to the length of its type; None where nothing is left of it."""
    limit = _LIMITS[VR(dictionary_VR(keyword))]
    lines = (printable(str(value)).translate(_NOT_IN_TEXTS) for value in values_of(quiet_value(ds, keyword)))
    texts = [text for line in lines if (text := line[:limit].strip())]
    return texts[0] if len(texts) == 1 else texts or None


def _element(ds: Dataset, tag: Any) -> DataElement | None:
    """One element of ``ds``, None where it is not valid."""
    try:
        element = ds[tag]
        if element.VR not in dictionary_VR(tag).split(" or "):
            return None
        if element.VR == VR.SQ:
            return DataElement(tag, VR.SQ, [readable(item) for item in element.value])
        if element.VR == VR.PN and element.VM > 1 and dictionary_VM(tag) == "1":
            return None  # highdicom takes one name
        valid = all(_is_valid(element.VR, value) for value in values_of(element.value))
    except Exception:  # pydicom converts on access, and raises in many ways
        return None
    return element if valid else None


def _is_valid(vr: str, value: Any) -> bool:
    if vr in _MOMENTS:
        _MOMENTS[VR(vr)](str(value))  # raises where it is none
    elif vr == VR.AS:
        validate_value(vr, value, config.RAISE)
    elif vr in _NUMBERS:
        return isfinite(float(value))
    elif vr == VR.UI:
        return is_uid(value)
    else:
        str(value)  # names are decoded only here
    return True
