"""Writes the segmentations."""

from __future__ import annotations

from acuity.pipeline.graph import WRITE_SEGMENTATIONS
from operators.stage import StageOperator


class SegmentationWriterOperator(StageOperator):
    """``tumor`` and ``series`` -> ``segmentations``: one on the fine grid, one on the grid that was measured."""

    stage = WRITE_SEGMENTATIONS
