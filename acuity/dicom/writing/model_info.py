"""The model that made an output, and its description in DICOM objects."""

from __future__ import annotations

from dataclasses import dataclass

import highdicom as hd
from pydicom.sr.codedict import codes

MANUFACTURER = "Acuity"
NOT_FOR_PRIMARY_DIAGNOSIS = "AI-generated. Not for primary diagnosis."

_LONG_STRING = 64  # characters that VR LO holds (PS3.5 section 6.2)


@dataclass(frozen=True)
class ModelInfo:
    """A released model, as every derived object names it.

    Parameters
    ----------
    name : the bundle's name, 1 to 64 characters
    version : the bundle's version, 1 to 64 characters
    weights_sha256 : hexadecimal SHA-256 of the weights file, 64 characters

    Raises
    ------
    ValueError
        When a text does not fit the value representation LO (no backslash, 1 to 64 characters).
    """

    name: str
    version: str
    weights_sha256: str

    def __post_init__(self) -> None:
        for field in ("name", "version", "weights_sha256"):
            text = getattr(self, field)
            if not 0 < len(text) <= _LONG_STRING or "\\" in text:
                raise ValueError(f"{field} is {text!r}; it must have 1 to 64 characters and no backslash")

    @property
    def equipment(self) -> dict[str, str]:
        """The model as the equipment that made an object (PS3.3 C.7.5.1, C.7.5.2), under highdicom's names.

        The hash of the weights takes the place of a serial number: it tells two trainings of one
        version apart.
        """
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": self.name,
            "software_versions": self.version,
            "device_serial_number": self.weights_sha256,
        }

    def contributing_equipment(self, description: str) -> hd.ContributingEquipment:
        """The model as processing equipment (PS3.3 C.12.1.1.5), ``description`` saying which."""
        return hd.ContributingEquipment(
            purpose_of_reference=codes.DCM.ProcessingEquipment, contribution_description=description, **self.equipment
        )

    def algorithm_identification(self) -> hd.AlgorithmIdentificationSequence:
        """The model as PS3.3 section 10.16 identifies an algorithm."""
        return hd.AlgorithmIdentificationSequence(
            name=self.name,
            family=codes.cid7162.ArtificialIntelligence,
            version=self.version,
            source=MANUFACTURER,
            parameters={"weights_sha256": self.weights_sha256},
        )
