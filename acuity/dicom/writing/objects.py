"""What SEG, SR and SC objects have in common: arguments of their constructors, and saving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
from pydicom import Dataset

from acuity.dicom.writing.source import take_patient_and_study


def object_arguments(
    series_uid: str,
    series_number: int,
    description: str,
    equipment: Mapping[str, str],
    contributing_equipment: Sequence[hd.ContributingEquipment],
) -> dict[str, Any]:
    """Arguments of highdicom's constructors for the one object of a new series.

    Parameters
    ----------
    series_uid, series_number, description : of the new series; Series Description has 64 characters at most
    equipment : see ``ModelInfo.equipment``
    contributing_equipment : see ``ModelInfo.contributing_equipment``
    """
    return {
        "series_instance_uid": series_uid,
        "series_number": series_number,
        "series_description": description,
        "sop_instance_uid": hd.UID(),
        "instance_number": 1,
        "specific_character_set": None,  # the source's, see ``take_patient_and_study``
        "contributing_equipment": list(contributing_equipment) or None,
        **equipment,
    }


def save_object(target: hd.base.SOPClass, source: Dataset, path: Path) -> None:
    """Give ``target`` the patient and study of a complete source, and write it; its folder is created if absent."""
    take_patient_and_study(target, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    target.save_as(path, enforce_file_format=True)
