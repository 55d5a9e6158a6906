"""From the four chosen series to volumes that can be compared voxel by voxel, without resampling any of them yet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom.uid import generate_uid

from acuity.anatomy import Sequence
from acuity.dicom.reading.read import load_stack
from acuity.dicom.selection.select import Selection
from acuity.imaging.appearance import Opinion
from acuity.imaging.brain import extract_brain, is_skull_stripped, stripped_mask
from acuity.imaging.registration import RigidResult, align
from acuity.imaging.resampling import resample
from acuity.volume import Grid, Volume

REFERENCE = Sequence.T1C
REFERENCE_REASON = (
    "The contrast-enhanced T1 shows the tumor's most important border and is usually the series of finest resolution."
)
_STRIPPED = f"{REFERENCE.value} is skull-stripped: round the brain lies one exact value."
_WHOLE_HEAD = f"{REFERENCE.value} shows the whole head: the brain was found by deepbet."

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Four volumes on their native grids, and the transforms between their spaces.

    Parameters
    ----------
    volumes : float32, each on the grid it was measured on
    alignment : for every sequence, the rigid transform from the reference's space to its own (LPS mm)
    brain : uint8 mask on the reference's native grid
    stripped : whether the head outside the brain had been removed before
    frame_of_reference_uid : the patient space of all derived objects: the reference's, or a new one where the
        reference names none
    opinions : what the pixels say of the choice of each series, as ``confirmation`` gives it; empty for NIfTI
    """

    volumes: Mapping[Sequence, Volume]
    alignment: Mapping[Sequence, RigidResult]
    brain: Volume
    stripped: bool
    frame_of_reference_uid: str
    opinions: Mapping[Sequence, Opinion] = field(default_factory=dict)

    @property
    def reference(self) -> Volume:
        """The volume that the others are brought to."""
        return self.volumes[REFERENCE]

    def brain_of(self, sequence: Sequence) -> Volume:
        """The brain mask on the native grid of ``sequence``."""
        rigid = self.alignment[sequence]
        to_reference = np.linalg.inv(rigid.matrix) if rigid.performed else None
        return mask_on_grid(self.brain, self.volumes[sequence].grid, to_reference)

    def describe(self) -> dict[str, Any]:
        """The ``preparation`` section of ``result.json``."""
        pixels = {sequence.value: opinion.describe() for sequence, opinion in self.opinions.items()}
        return {
            "preparation": {
                "reference": REFERENCE.value,
                "reference_reason": REFERENCE_REASON,
                "registration": {
                    sequence.value: {
                        "performed": rigid.performed,
                        "reason": rigid.reason,
                        "rotation_deg": round(rigid.rotation_deg, 3),
                        "translation_mm": round(rigid.translation_mm, 3),
                    }
                    for sequence, rigid in self.alignment.items()
                    if sequence is not REFERENCE
                },
                "brain": {
                    "extracted": not self.stripped,
                    "reason": _STRIPPED if self.stripped else _WHOLE_HEAD,
                    "volume_ml": round(float(self.brain.array.sum()) * self.brain.grid.voxel_volume, 1),
                },
                **({"pixels": pixels} if pixels else {}),
            }
        }

    def summary(self) -> str:
        """One line for people."""
        moved = [s.value for s, rigid in self.alignment.items() if rigid.performed]
        registration = f"{', '.join(moved)} registered to {REFERENCE.value}" if moved else "registration not needed"
        return f"{registration}; brain {'already extracted' if self.stripped else 'extracted'}"


def prepare(selection: Selection) -> Prepared:
    """Read the pixels of the chosen series and prepare their volumes.

    Raises
    ------
    UnreadablePixelsError : pixel data is truncated or cannot be decoded
    RegistrationError, BrainExtractionError : as ``prepare_volumes``
    """
    return prepare_volumes({sequence: load_stack(choice.stack) for sequence, choice in selection.choices.items()})


def prepare_volumes(volumes: Mapping[Sequence, Volume], *, stripped: bool | None = None) -> Prepared:
    """Align the series rigidly where headers do not say how they lie to one another, and find the brain.

    Parameters
    ----------
    volumes : float32, T1, T1c, T2 and FLAIR, each on the grid it was measured on
    stripped : whether the head outside the brain was removed before; None to recognize it

    Raises
    ------
    RegistrationError : two sequences cannot be aligned
    BrainExtractionError : no plausible brain is found
    """
    reference = volumes[REFERENCE]
    alignment = {}
    for sequence, volume in volumes.items():
        itself = RigidResult(np.eye(4), False, "It is the reference.")
        alignment[sequence] = itself if sequence is REFERENCE else align(volume, reference)
        _log.info("%s: %s", sequence.value, alignment[sequence].reason)
    if stripped is None:
        stripped = is_skull_stripped(reference)
    return Prepared(
        volumes=volumes,
        alignment=alignment,
        brain=stripped_mask(reference) if stripped else extract_brain(reference),
        stripped=stripped,
        frame_of_reference_uid=reference.frame_of_reference_uid or generate_uid(),
    )


def mask_on_grid(mask: Volume, grid: Grid, matrix: np.ndarray | None = None) -> Volume:
    """A mask (uint8, 0 or 1) on another grid, by its nearest voxel.

    Parameters
    ----------
    matrix : (4, 4) from the grid's space to the mask's, LPS mm; None for one space
    """
    if matrix is None and mask.grid.same_as(grid):
        return mask
    return resample(mask, grid, matrix, interpolation="nearest")
