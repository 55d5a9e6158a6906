"""Writes the overview picture."""

from __future__ import annotations

from acuity.pipeline.stages import Segmented
from acuity.pipeline.writing import WrittenOverview, WrittenReport, write_overview_picture
from operators.stage import StageOperator


class OverviewWriterOperator(StageOperator):
    """``tumor`` and ``report`` in, a picture with outlines on disk."""

    stage = "write overview"
    inputs = ("tumor", "report")

    def work(self, tumor: Segmented, report: WrittenReport) -> WrittenOverview:
        """Write ``overview/``."""
        return write_overview_picture(tumor, report, self.run.folder)
