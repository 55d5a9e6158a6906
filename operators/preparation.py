"""Reads the pixels, aligns the sequences and finds the brain."""

from __future__ import annotations

from acuity.pipeline.graph import PREPARE
from operators.stage import StageOperator


class PreparationOperator(StageOperator):
    """``selection`` -> ``prepared``: four volumes on their native grids, and how they lie to one another."""

    stage = PREPARE
