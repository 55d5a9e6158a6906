"""A second opinion on the chosen series: whether their pixels look like what header or name says they are.

Nothing of it is chosen by pixels, and nothing is overruled: a contradiction refuses the study, with both reasons. Where
the user named the series, it is only said in ``result.json``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from acuity.anatomy import Sequence
from acuity.dicom.selection.enhancement import measure_enhancement
from acuity.dicom.selection.select import Choice, Selection
from acuity.errors import AmbiguousSequenceError
from acuity.imaging.appearance import CONTRADICTED, Opinion, measure_appearance, recognize
from acuity.pipeline.preparation import Prepared
from acuity.volume import Volume

_log = logging.getLogger(__name__)


def opinions(prepared: Prepared) -> dict[Sequence, Opinion]:
    """The opinion on each prepared volume."""
    found = {s: _opinion(s, volume, _brain(prepared, s)) for s, volume in prepared.volumes.items()}
    if Sequence.T1 in found and Sequence.T1C in found:
        found |= _compared(prepared, found)
    return found


def _brain(prepared: Prepared, sequence: Sequence) -> Volume:
    """The brain as far as the sequence shows it."""
    brain = prepared.brain_of(sequence)
    shown = prepared.shown.get(sequence)
    return brain if shown is None else brain.with_array(brain.array * shown.array)


def confirmed(prepared: Prepared, selection: Selection) -> Prepared:
    """``prepared`` with the opinions on its series, of which none contradicts.

    Raises
    ------
    AmbiguousSequenceError : pixels contradict what a series was chosen for; with what header or name say of it
    """
    found = opinions(prepared)
    require_agreement(selection, found)
    return replace(prepared, opinions=found)


def require_agreement(selection: Selection, found: Mapping[Sequence, Opinion]) -> None:
    """Raise AmbiguousSequenceError for the first series that its pixels contradict and that the user did not name."""
    for sequence, opinion in found.items():
        _log.info("%s: %s, %s", sequence.value, opinion.verdict, opinion.reason)
        if opinion.verdict == "contradicts" and selection.choices[sequence].evidence != "user":
            raise _contradiction(sequence, selection.choices[sequence], opinion)


def _contradiction(sequence: Sequence, choice: Choice, opinion: Opinion) -> AmbiguousSequenceError:
    return AmbiguousSequenceError(
        f"{sequence.value} was chosen for this: {choice.reason} But {opinion.reason}.",
        rule="The pixels of a series must not contradict its header or its name.",
        remedy=f"Look at the series. If it is {sequence.value}, name it: {sequence.value}=UID.",
    )


def _opinion(sequence: Sequence, volume: Volume, brain: Volume) -> Opinion:
    measures = measure_appearance(volume, brain)
    if measures is None:
        return Opinion("undecided", "its pixels show too little of a brain's tissues to tell")
    probabilities = recognize(measures)
    kind = Sequence.T1 if sequence is Sequence.T1C else sequence
    likeliest = max(probabilities, key=lambda s: probabilities[s])
    look = f"its pixels look like {likeliest.value} ({100 * probabilities[likeliest]:.0f} %)"
    if probabilities[kind] < CONTRADICTED:
        return Opinion("contradicts", f"{look}, not like {kind.value} ({100 * probabilities[kind]:.1f} %)")
    return Opinion("agrees" if likeliest is kind else "undecided", look)


def _compared(prepared: Prepared, found: Mapping[Sequence, Opinion]) -> dict[Sequence, Opinion]:
    """The opinions on T1 and T1c with what their difference says; a T1 that is enhanced against T1c contradicts."""
    one, other = (_in_reference(prepared, s) for s in (Sequence.T1, Sequence.T1C))
    change = measure_enhancement(one, other)
    result = {}
    for sequence in (Sequence.T1, Sequence.T1C):
        before = found[sequence]
        if before.verdict == "contradicts":
            continue
        if change.verdict < 0:
            result[sequence] = Opinion("contradicts", f"T1 is enhanced against T1c, not T1c against T1 ({change})")
        elif change.verdict > 0:
            result[sequence] = replace(before, reason=f"{before.reason}; T1c is enhanced against T1 ({change})")
        else:
            result[sequence] = Opinion(
                "undecided", f"{before.reason}; T1c is not clearly enhanced against T1 ({change})"
            )
    return result


def _in_reference(prepared: Prepared, sequence: Sequence) -> Volume:
    """The volume with the affine that brings it to the reference's space, without interpolation."""
    volume, rigid = prepared.volumes[sequence], prepared.alignment[sequence]
    if not rigid.performed:
        return volume
    return Volume(volume.array, np.linalg.inv(rigid.matrix) @ volume.affine)
