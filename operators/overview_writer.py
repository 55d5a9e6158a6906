"""Writes the overview picture."""

from __future__ import annotations

from acuity.pipeline.stages import Segmented, SuperResolved
from acuity.pipeline.writing import WrittenOverview, WrittenReport, write_overview_picture
from operators.stage import StageOperator


class OverviewWriterOperator(StageOperator):
    """``images``, ``tumor`` and ``report`` in, a picture with outlines on disk."""

    stage = "write overview"
    inputs = ("images", "tumor", "report")

    def work(self, images: SuperResolved, tumor: Segmented, report: WrittenReport) -> WrittenOverview:
        """Write ``overview/``."""
        return write_overview_picture(images, tumor, report, self.run.folder)
