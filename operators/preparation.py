"""Reads the pixels, aligns the sequences and finds the brain."""

from __future__ import annotations

from acuity.pipeline.preparation import Prepared, prepare
from acuity.pipeline.stages import Chosen
from operators.stage import StageOperator


class PreparationOperator(StageOperator):
    """``selection`` -> ``prepared``: four volumes on their native grids, and how they lie to one another."""

    stage = "prepare"
    inputs = ("selection",)
    output = "prepared"

    def work(self, selection: Chosen) -> Prepared:
        """Prepare the chosen series."""
        return prepare(selection.selection)
