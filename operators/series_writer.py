"""Writes the super-resolved series."""

from __future__ import annotations

from acuity.pipeline.stages import SuperResolved
from acuity.pipeline.writing import WrittenSeries, write_all_series
from operators.stage import StageOperator


class SeriesWriterOperator(StageOperator):
    """``images`` -> ``series``: four derived MR series on disk."""

    stage = "write series"
    inputs = ("images",)
    output = "series"

    def work(self, images: SuperResolved) -> WrittenSeries:
        """Write ``series/``."""
        return write_all_series(images, self.run.folder)
