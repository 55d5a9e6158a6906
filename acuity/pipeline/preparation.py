"""From the chosen series to volumes that can be compared voxel by voxel, without resampling any of them yet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydicom.uid import generate_uid

from acuity.anatomy import Sequence
from acuity.assessment import COMPLETE, OPTION, WHOLE, Assessment, assess, reference_of
from acuity.dicom.reading.read import load_stack
from acuity.dicom.selection.select import Selection
from acuity.errors import PartialCoverageError
from acuity.imaging.appearance import Opinion
from acuity.imaging.brain import extract_brain, is_skull_stripped, stripped_mask
from acuity.imaging.coverage import beyond_faces, part_inside, share, shown
from acuity.imaging.registration import RigidResult, align
from acuity.imaging.resampling import mask_on_grid
from acuity.volume import Grid, Volume

REFERENCE = Sequence.T1C  # of a complete study
_REFERENCE_REASONS = {
    Sequence.T1C: "The contrast-enhanced T1 shows the tumor's most important border and is usually the series of finest"
    " resolution.",
    Sequence.FLAIR: "T1c is missing, and FLAIR shows the whole tumor.",
}
_STRIPPED = "{} is skull-stripped: round the brain lies one exact value."
_WHOLE_HEAD = "{} shows the whole head: the brain was found by deepbet."
_REACHES = 0.5  # part of the points beyond a cut brain that another field of view must hold

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Volumes on their native grids, and the transforms between their spaces.

    Parameters
    ----------
    volumes : float32, each on the grid it was measured on; FLAIR is among them
    alignment : for every sequence, the rigid transform from the reference's space to its own (LPS mm)
    brain : uint8 mask on the reference's native grid
    stripped : whether the head outside the brain had been removed before
    frame_of_reference_uid : the patient space of all derived objects: the reference's, or a new one where the
        reference names none
    opinions : what the pixels say of the choice of each series, as ``confirmation`` gives it; empty for NIfTI
    shown : for every sequence, the uint8 mask of where its image shows something, on its native grid
    assessment : what the sequences can tell
    """

    volumes: Mapping[Sequence, Volume]
    alignment: Mapping[Sequence, RigidResult]
    brain: Volume
    stripped: bool
    frame_of_reference_uid: str
    shown: Mapping[Sequence, Volume] = field(default_factory=dict)
    assessment: Assessment = WHOLE
    opinions: Mapping[Sequence, Opinion] = field(default_factory=dict)

    @property
    def reference_sequence(self) -> Sequence:
        """The sequence that the others are brought to."""
        return reference_of(self.volumes)

    @property
    def reference(self) -> Volume:
        """Its volume."""
        return self.volumes[self.reference_sequence]

    def brain_of(self, sequence: Sequence) -> Volume:
        """The brain mask on the native grid of ``sequence``."""
        rigid = self.alignment[sequence]
        to_reference = np.linalg.inv(rigid.matrix) if rigid.performed else None
        return mask_on_grid(self.brain, self.volumes[sequence].grid, to_reference)

    def shown_of(self, sequence: Sequence, grid: Grid) -> Volume | None:
        """Where a sequence shows something, uint8 on a grid of the reference's space; None for everywhere."""
        if sequence not in self.shown:
            return None
        rigid = self.alignment[sequence]
        mask = mask_on_grid(self.shown[sequence], grid, rigid.matrix if rigid.performed else None)
        return None if mask.array.all() else mask

    def describe(self) -> dict[str, Any]:
        """The ``preparation`` section of ``result.json``, and its warnings."""
        name = self.reference_sequence.value
        pixels = {sequence.value: opinion.describe() for sequence, opinion in self.opinions.items()}
        return {
            "preparation": {
                "reference": name,
                "reference_reason": _REFERENCE_REASONS[self.reference_sequence],
                "registration": {
                    sequence.value: {
                        "performed": rigid.performed,
                        "reason": rigid.reason,
                        "rotation_deg": round(rigid.rotation_deg, 3),
                        "translation_mm": round(rigid.translation_mm, 3),
                    }
                    for sequence, rigid in self.alignment.items()
                    if sequence is not self.reference_sequence
                },
                "brain": {
                    "extracted": not self.stripped,
                    "reason": (_STRIPPED if self.stripped else _WHOLE_HEAD).format(name),
                    "volume_ml": round(float(self.brain.array.sum()) * self.brain.grid.voxel_volume, 1),
                },
                "coverage": {s.value: round(part, 3) for s, part in self.assessment.coverage.items()},
                **({"pixels": pixels} if pixels else {}),
            },
            "warnings": self.assessment.limits(),
        }

    def summary(self) -> str:
        """One line for people."""
        moved = [s.value for s, rigid in self.alignment.items() if rigid.performed]
        to = f"{', '.join(moved)} registered to {self.reference_sequence.value}"
        registration = to if moved else "registration not needed"
        return f"{registration}; brain {'already extracted' if self.stripped else 'extracted'}"


def prepare(selection: Selection, *, allow_partial: bool = False) -> Prepared:
    """Read the pixels of the chosen series and prepare their volumes.

    Raises
    ------
    UnreadablePixelsError : pixel data is truncated or cannot be decoded
    MissingSequenceError, RegistrationError, BrainExtractionError, PartialCoverageError : as ``prepare_volumes``
    """
    volumes = {sequence: load_stack(choice.stack) for sequence, choice in selection.choices.items()}
    return prepare_volumes(volumes, allow_partial=allow_partial)


def prepare_volumes(
    volumes: Mapping[Sequence, Volume], *, stripped: bool | None = None, allow_partial: bool = False
) -> Prepared:
    """Align the series rigidly where headers do not say how they lie to one another, and find the brain.

    Parameters
    ----------
    volumes : float32, each on the grid it was measured on: T1, T1c, T2 and FLAIR, or a subset that ``assess`` accepts
    stripped : whether the head outside the brain was removed before; None to recognize it
    allow_partial : take sequences that show only a part of the brain

    Raises
    ------
    MissingSequenceError : as ``assess``
    RegistrationError : two sequences cannot be aligned
    BrainExtractionError : no plausible brain is found
    PartialCoverageError : a sequence shows less than ``COMPLETE`` of the brain
    """
    assessment = assess(volumes)
    first = reference_of(volumes)
    reference = volumes[first]
    alignment = {}
    for sequence, volume in volumes.items():
        itself = RigidResult(np.eye(4), False, "It is the reference.")
        alignment[sequence] = itself if sequence is first else align(volume, reference)
        _log.info("%s: %s", sequence.value, alignment[sequence].reason)
    if stripped is None:
        stripped = is_skull_stripped(reference)
    prepared = Prepared(
        volumes=volumes,
        alignment=alignment,
        brain=_brain(reference, stripped),
        stripped=stripped,
        frame_of_reference_uid=reference.frame_of_reference_uid or generate_uid(),
        assessment=assessment,
    )
    prepared = _with_coverage(prepared)
    if prepared.assessment.partial and not allow_partial:
        raise _partial(prepared.assessment)
    return prepared


def _brain(volume: Volume, stripped: bool) -> Volume:
    return stripped_mask(volume) if stripped else extract_brain(volume)


def _with_coverage(prepared: Prepared) -> Prepared:
    """What each sequence shows, and how much of the brain that is."""
    masks = {s: shown(volume, prepared.brain_of(s)) for s, volume in prepared.volumes.items()}
    prepared = replace(prepared, shown=masks)
    coverage = {}
    for sequence in prepared.volumes:
        mask = prepared.shown_of(sequence, prepared.brain.grid)
        coverage[sequence] = 1.0 if mask is None else share(mask, prepared.brain)
    coverage[prepared.reference_sequence] *= _part_in_reference(prepared)
    return replace(prepared, assessment=replace(prepared.assessment, coverage=coverage))


def _part_in_reference(prepared: Prepared) -> float:
    """The part of the brain, 0 to 1, that lies in the reference's field of view, as far as another sequence shows it.

    Only where the field of view cuts the brain, and another reaches further, is the brain of that other one sought.
    """
    points = beyond_faces(prepared.brain)
    reach = {
        s: part_inside(points, volume.grid, prepared.alignment[s].matrix)
        for s, volume in prepared.volumes.items()
        if s is not prepared.reference_sequence
    }
    farthest = max(reach, key=lambda s: reach[s], default=None)
    if farthest is None or reach[farthest] < _REACHES:
        return 1.0
    whole = _brain(prepared.volumes[farthest], prepared.stripped)
    matrix = np.asarray(np.linalg.inv(prepared.alignment[farthest].matrix), dtype=np.float64)
    everywhere = prepared.brain.with_array(np.ones(prepared.brain.shape, np.uint8))
    return share(mask_on_grid(everywhere, whole.grid, matrix), whole)


def _partial(assessment: Assessment) -> PartialCoverageError:
    parts = " and ".join(f"{s.value} shows {100 * assessment.coverage[s]:.0f} %" for s in assessment.partial)
    return PartialCoverageError(
        f"{parts} of the brain.",
        rule=f"A sequence shows {100 * COMPLETE:.0f} % of the brain at least.",
        remedy=f"Send the rest of the series, or name another one. {OPTION} runs all the same: it marks what is not"
        " shown, and states no volume where the tumor may go on there.",
    )
