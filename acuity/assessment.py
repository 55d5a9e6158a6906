"""What can be told of a tumor from fewer than four sequences, or from sequences that show a part of the brain.

The released segmentation decides; docs/segmentation.md has its Dice for every subset. With FLAIR it finds the whole
tumor, whichever others are missing. Without FLAIR it misses small tumors, so that even an empty mask says nothing.
Without T1c neither the enhancing tumor nor the core is told apart, and without the core there is no edema either. It
then misses a large tumor now and again, so that an empty mask is no finding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from acuity.anatomy import REGION_NAMES, SEGMENTS, WHOLE_TUMOR, Region, SegmentSpec, Sequence
from acuity.errors import MissingSequenceError

OPTION = "--allow-missing"
COMPLETE = 0.95  # share of the brain that a sequence must show; slabs of one session differ by some slices at the ends

_LOST_WITHOUT_T1C = (Region.ET, Region.TC)
_NOTHING = "No tumor was found, but without T1c that excludes none."
_OFFER = f"{OPTION} runs without T1c, T1 or T2, and says what cannot be told without them; FLAIR is always needed."


def reference_of(sequences: Collection[Sequence]) -> Sequence:
    """The sequence that the others are brought to: T1c, or FLAIR where there is none.

    T1c shows the tumor's most important border and is usually the finest; FLAIR is there in every subset that is run.
    """
    return Sequence.T1C if Sequence.T1C in sequences else Sequence.FLAIR


def names_of(sequences: Collection[Sequence]) -> str:
    """For example "T1, T1c and FLAIR", in their order."""
    names = [s.value for s in Sequence if s in sequences]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


@dataclass(frozen=True)
class Assessment:
    """What a study's sequences can tell, and why they cannot tell the rest.

    Parameters
    ----------
    sequences : that are there
    coverage : for each, the share of the brain that it shows, 0 to 1; all of it where none is given
    found : whether a tumor was found, once it was sought
    """

    sequences: Collection[Sequence] = tuple(Sequence)
    coverage: Mapping[Sequence, float] = field(default_factory=dict)
    found: bool = True

    @property
    def missing(self) -> tuple[Sequence, ...]:
        """The sequences that are not there."""
        return tuple(s for s in Sequence if s not in self.sequences)

    @property
    def partial(self) -> tuple[Sequence, ...]:
        """The sequences that show less than ``COMPLETE`` of the brain."""
        return tuple(s for s in Sequence if self.coverage.get(s, 1.0) < COMPLETE)

    @property
    def segments(self) -> tuple[SegmentSpec, ...]:
        """The exclusive segments that can be drawn."""
        return SEGMENTS if Sequence.T1C in self.sequences else (WHOLE_TUMOR,)

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions that can be drawn."""
        return tuple(region for region in Region if not self.why_not_drawn(region))

    def why_not_drawn(self, region: Region) -> str:
        """Why there is no mask of a region; "" where there is one."""
        lost = Sequence.T1C not in self.sequences and region in _LOST_WITHOUT_T1C
        return f"{REGION_NAMES[region]} cannot be told without T1c." if lost else ""

    def why_not_measured(self, region: Region) -> str:
        """Why nothing is measured of a region, whether it is drawn or not; "" where it is."""
        cut = [s for s in self.partial if s in (Sequence.T1C, Sequence.FLAIR)]
        shown = " and ".join(self._covers(s) for s in cut)
        beyond = f"{shown}; the tumor beyond is not known." if cut else ""
        return self.why_not_drawn(region) or beyond or ("" if self._sure else _NOTHING)

    @property
    def _sure(self) -> bool:
        """Whether an empty mask would say that there is no tumor."""
        return self.found or Sequence.T1C in self.sequences

    def limits(self) -> list[str]:
        """Sentences on what is missing and what that costs; none where all is there."""
        sentences = []
        if self.missing:
            sentences.append(missing_text(self.missing))
        if Sequence.T1C in self.missing:
            sentences.append(
                "Enhancing tumor, tumor core and edema are not assessable without T1c: the whole tumor alone is drawn."
            )
        for sequence in self.partial:
            rest = "the rest is segmented without it."
            if sequence in (Sequence.T1C, Sequence.FLAIR):
                rest = "the rest is not assessable, and no volume is stated."
            sentences.append(f"{self._covers(sequence)}; {rest}")
        if not self._sure:
            sentences.append(_NOTHING)
        return sentences

    def note(self) -> str:
        """The limits as one text; "" where all is there."""
        return " ".join(self.limits())

    def _covers(self, sequence: Sequence) -> str:
        return f"{sequence.value} covers {100 * self.coverage[sequence]:.0f} % of the brain"


WHOLE = Assessment()


def assess(sequences: Collection[Sequence]) -> Assessment:
    """What a subset of the sequences can tell.

    Raises
    ------
    MissingSequenceError : the subset is none that is run: without FLAIR small tumors are missed
    """
    if Sequence.FLAIR not in sequences:
        raise MissingSequenceError(
            f"FLAIR is missing; there {'is' if len(sequences) == 1 else 'are'} {names_of(sequences) or 'none'}.",
            rule=f"{OPTION} runs on FLAIR, with or without T1c, T1 and T2: without FLAIR tumors are missed.",
            remedy="Send the FLAIR series too.",
        )
    return Assessment(tuple(s for s in Sequence if s in sequences))


def missing_text(sequences: Collection[Sequence]) -> str:
    """For example "T1 and FLAIR are missing."."""
    return f"{names_of(sequences)} {'is' if len(sequences) == 1 else 'are'} missing."


def if_allowed(sequences: Collection[Sequence]) -> str:
    """What ``OPTION`` would do with a study that has these sequences, in a sentence or two."""
    try:
        limits = assess(sequences).limits()
    except MissingSequenceError:
        return f"It would not run with {OPTION} either: without FLAIR tumors are missed."
    return " ".join([f"It would run with {OPTION} on {names_of(sequences)}.", *limits])


def with_offer(error: MissingSequenceError) -> MissingSequenceError:
    """The refusal of an incomplete study, with the option that allows it."""
    offered = MissingSequenceError(error.found, rule=error.rule, remedy=f"{error.remedy} {_OFFER}".strip())
    offered.missing = error.missing
    return offered
