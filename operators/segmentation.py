"""Finds the tumor."""

from __future__ import annotations

from acuity.pipeline.graph import SEGMENT
from operators.stage import StageOperator


class SegmentationOperator(StageOperator):
    """``images`` -> ``tumor``: labels on the fine grid and on the grid that was measured."""

    stage = SEGMENT
