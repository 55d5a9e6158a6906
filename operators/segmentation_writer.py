"""Writes the segmentations."""

from __future__ import annotations

from acuity.pipeline.stages import Segmented
from acuity.pipeline.writing import WrittenSegmentations, WrittenSeries, write_segmentations
from operators.stage import StageOperator


class SegmentationWriterOperator(StageOperator):
    """``tumor`` and ``series`` -> ``segmentations``: one on the fine grid, one on the grid that was measured."""

    stage = "write seg"
    inputs = ("tumor", "series")
    output = "segmentations"

    def work(self, tumor: Segmented, series: WrittenSeries) -> WrittenSegmentations:
        """Write ``seg/``."""
        return write_segmentations(tumor, series, self.run.folder)
