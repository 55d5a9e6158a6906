"""Finds the tumor."""

from __future__ import annotations

from acuity.pipeline.stages import Segmented, SuperResolved, segment_study
from operators.stage import StageOperator


class SegmentationOperator(StageOperator):
    """``images`` -> ``tumor``: labels on the fine grid and on the grid that was measured."""

    stage = "segment"
    inputs = ("images",)
    output = "tumor"

    def work(self, images: SuperResolved) -> Segmented:
        """Segment the super-resolved images."""
        return segment_study(images, self.bundle, progress=self.run.progress(self.stage))
