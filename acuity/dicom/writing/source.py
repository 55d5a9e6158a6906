"""Patient and study that derived objects take over from their source images, and the slices that they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, config
from pydicom.valuerep import format_number_as_ds

from acuity.dicom.reading.headers import macro, values_of
from acuity.dicom.reading.slices import Slice
from acuity.dicom.writing.readable import readable

# Patient and General Study attributes that every object must have, if only empty (type 2).
_PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)

# Single-byte character sets: the defined term with code extensions, and without.
_ALONE = {f"ISO 2022 IR {n}": f"ISO_IR {n}" for n in (100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 13, 166)}


def complete_source(ds: Dataset, frame_of_reference_uid: str) -> Dataset:
    """Another dataset, with the valid public elements of ``ds`` and what derived objects need and ``ds`` lacks.

    Anonymized exports miss attributes that the standard wants at least empty, or hold dates, times, an
    age or a sex that it does not allow; these become empty. Other elements that are not valid are left out,
    see ``readable``. A missing frame of reference becomes the
    given one. highdicom looks for an enhanced image's pixel measures and orientation among the shared
    functional groups only; scanners may repeat them for each frame instead. ``ds`` itself is not changed.
    """
    with config.disable_value_validation():  # pydicom prints what it finds not valid, such as a birth date
        return _complete(ds, frame_of_reference_uid)


def _complete(source: Dataset, frame_of_reference_uid: str) -> Dataset:
    ds = readable(source)
    changes: dict[str, Any] = {keyword: "" for keyword in _PATIENT_AND_STUDY if keyword not in ds}
    if ds.get("PatientSex") not in (None, "", "M", "F", "O"):
        changes["PatientSex"] = ""
    if not ds.get("FrameOfReferenceUID"):
        changes["FrameOfReferenceUID"] = frame_of_reference_uid
    if "PerFrameFunctionalGroupsSequence" in ds:
        changes.update(_shared_geometry(ds))
    elif not ds.get("SliceThickness"):
        # highdicom reads it, to compare with the segments' own, and writes the latter
        changes["SliceThickness"] = ds.get("SpacingBetweenSlices") or "1"
    return _with_changes(ds, changes)


def without_name(ds: Dataset) -> Dataset:
    """Another dataset without the patient's name, for highdicom's constructors.

    They print a name of one component in a warning, and patient identifiers must not get into logs. The
    name comes back with ``take_patient_and_study``.
    """
    return _with_changes(ds, {"PatientName": ""})


def take_patient_and_study(target: hd.base.SOPClass, source: Dataset) -> None:
    """Copy patient and study of a complete source, and its character set, without private elements.

    Those lie inside sequences too, such as a procedure's codes, and nobody knows what they tell of a patient.
    highdicom's constructors refuse some valid character sets, such as Japanese ones: give them None.
    A term for code extensions that stands alone, as many scanners write it, is not valid (PS3.3
    C.12.1.1.2); the same character set without extensions is written.
    """
    target.copy_patient_and_study_information(source)
    _make_public(target, source)
    names = values_of(source.get("SpecificCharacterSet"))
    if len(names) == 1 and names[0] in _ALONE:
        names = [_ALONE[names[0]]]
    if names:
        target.SpecificCharacterSet = names


def _make_public(target: Dataset, source: Dataset) -> None:
    """Replace sequence items shared with the source, as highdicom leaves them, by copies without private elements."""
    for element in list(target):
        if element.VR == "SQ" and element.tag in source:
            shared = {id(item) for item in source[element.tag].value}
            items = [_public(item) if id(item) in shared else item for item in element.value]
            target[element.tag] = DataElement(element.tag, "SQ", items)


def _public(item: Dataset) -> Dataset:
    result = deepcopy(item)
    result.remove_private_tags()
    return result


def _with_changes(ds: Dataset, changes: dict[str, Any]) -> Dataset:
    """A dataset of the same elements, apart from some that are set, or removed where the value is None.

    A copy() of pydicom's would write into the original, as would setting an element that both hold, and
    update() would take texts undecoded.
    """
    result = Dataset()
    for element in ds:
        if element.keyword not in changes:
            result[element.tag] = element
    for keyword, value in changes.items():
        if value is not None:
            setattr(result, keyword, value)
    return result


def _shared_geometry(ds: Dataset) -> dict[str, list[Dataset]]:
    """The shared functional groups with pixel measures and orientation of the first frame; nothing if they are there.

    The frames of one volume agree in both, or the volume would have been refused.
    """
    shared = Dataset()
    shared.update((ds.get("SharedFunctionalGroupsSequence") or [Dataset()])[0])
    absent = [keyword for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence") if keyword not in shared]
    for keyword in absent:
        setattr(shared, keyword, [macro(ds, keyword)])
    return {"SharedFunctionalGroupsSequence": [shared]} if absent else {}


def nearest_slices(corners: NDArray[np.float64], slices: Sequence[Slice]) -> list[Slice]:
    """The measured slices that one derived slice was computed from.

    Parameters
    ----------
    corners : (4, 3) centers of the corner voxels of the derived slice in mm, LPS
    slices : the measured slices of one volume

    Returns
    -------
    The slices that cut the derived slice or lie nearer to it than the distance between measured slices
    (so both neighbors of a slice that falls between two); the nearest one where there is none such.
    """
    normal = np.cross(slices[0].row, slices[0].column)
    heights = corners @ normal
    positions = np.array([s.position @ normal for s in slices])
    steps = np.diff(np.unique(np.round(positions, 3)))
    reach = float(np.median(steps)) * 0.999 if len(steps) else np.inf
    gaps = np.maximum(positions - heights.max(), heights.min() - positions)
    near = [s for s, gap in zip(slices, gaps, strict=True) if gap < reach]
    return near or [slices[int(gaps.argmin())]]


def ds_value(value: float) -> str:
    """A number as a Decimal String of at most 16 characters (PS3.5 section 6.2), never "-0.0"."""
    return format_number_as_ds(float(value) + 0.0)


def ds_values(values: Iterable[float]) -> list[str]:
    """Several numbers, see ``ds_value``."""
    return [ds_value(value) for value in values]
