"""Measures the tumor and writes the report."""

from __future__ import annotations

from acuity.pipeline.stages import Segmented
from acuity.pipeline.writing import WrittenReport, WrittenSegmentations, write_measurements
from operators.stage import StageOperator


class ReportWriterOperator(StageOperator):
    """``tumor`` and ``segmentations`` -> ``report``: measurements, on disk too."""

    stage = "write report"
    inputs = ("tumor", "segmentations")
    output = "report"

    def work(self, tumor: Segmented, segmentations: WrittenSegmentations) -> WrittenReport:
        """Write ``report/``."""
        return write_measurements(tumor, segmentations, self.run.folder)
