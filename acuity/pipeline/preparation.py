"""From the four chosen series to volumes that can be compared voxel by voxel, without resampling any of them yet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.uid import generate_uid

from acuity.anatomy import Sequence
from acuity.dicom.reading.read import load_stack
from acuity.dicom.selection.select import Selection
from acuity.imaging.brain import extract_brain, is_skull_stripped, stripped_mask
from acuity.imaging.registration import RigidResult, align
from acuity.imaging.resampling import resample
from acuity.volume import Grid, Volume

REFERENCE = Sequence.T1C
REFERENCE_REASON = (
    "The contrast-enhanced T1 shows the tumor's most important border and is usually the series of finest resolution."
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Four volumes on their native grids, and how they lie to one another.

    Parameters
    ----------
    volumes : float32, each on the grid it was measured on
    alignment : for every sequence, the rigid transform from the reference's space to its own (LPS mm)
    brain : uint8 mask on the reference's native grid
    brain_statement : how the brain was found
    stripped : whether the head outside the brain had been removed before
    frame_of_reference_uid : the patient space of everything that is derived: the reference's, or a new one where
        the reference gives none
    """

    volumes: Mapping[Sequence, Volume]
    alignment: Mapping[Sequence, RigidResult]
    brain: Volume
    brain_statement: str
    stripped: bool
    frame_of_reference_uid: str

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
                    "reason": self.brain_statement,
                    "volume_ml": round(float(self.brain.array.sum()) * self.brain.grid.voxel_volume, 1),
                },
            }
        }

    def summary(self) -> str:
        """One line for people."""
        moved = [s.value for s, rigid in self.alignment.items() if rigid.performed]
        registration = f"{', '.join(moved)} registered to {REFERENCE.value}" if moved else "registration not needed"
        return f"{registration}; brain {'already extracted' if self.stripped else 'extracted'}"


def prepare(selection: Selection) -> Prepared:
    """Read the pixels of a study and prepare its volumes.

    Parameters
    ----------
    selection : one series for each of T1, T1c, T2 and FLAIR

    Raises
    ------
    UnreadablePixelsError
        When pixel data is truncated or cannot be decoded.
    RegistrationError, BrainExtractionError
        As ``prepare_volumes``.
    """
    return prepare_volumes({sequence: load_stack(choice.stack) for sequence, choice in selection.choices.items()})


def prepare_volumes(volumes: Mapping[Sequence, Volume]) -> Prepared:
    """Align rigidly where headers do not already say how series lie, and find the brain.

    Parameters
    ----------
    volumes : float32, T1, T1c, T2 and FLAIR, each on the grid it was measured on

    Raises
    ------
    RegistrationError, BrainExtractionError
        When the sequences cannot be aligned, or no plausible brain is found.
    """
    reference = volumes[REFERENCE]
    alignment = {}
    for sequence, volume in volumes.items():
        alignment[sequence] = _itself() if sequence is REFERENCE else align(volume, reference)
        _log.info("%s: %s", sequence.value, alignment[sequence].reason)
    stripped = is_skull_stripped(reference)
    brain = stripped_mask(reference) if stripped else extract_brain(reference)
    return Prepared(
        volumes=volumes,
        alignment=alignment,
        brain=brain,
        brain_statement=_brain_statement(stripped),
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


def _itself() -> RigidResult:
    return RigidResult(np.eye(4), False, "It is the reference.")


def _brain_statement(stripped: bool) -> str:
    if stripped:
        return f"{REFERENCE.value} is skull-stripped: round the brain lies one exact value."
    return f"{REFERENCE.value} shows the whole head: the brain was found by deepbet."
