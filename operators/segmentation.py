"""Finds the tumor."""

from __future__ import annotations

from typing import Any

from monai.deploy.core import Fragment

from acuity.models.bundle import Bundle
from acuity.pipeline.run import Run
from acuity.pipeline.stages import Segmented, SuperResolved, segment_study
from operators.stage import StageOperator


class SegmentationOperator(StageOperator):
    """``images`` -> ``tumor``: labels on the fine grid and on the grid that was measured."""

    stage = "segment"
    inputs = ("images",)
    output = "tumor"

    def __init__(self, fragment: Fragment, *args: Any, run: Run, bundle: Bundle) -> None:
        self.bundle = bundle
        super().__init__(fragment, *args, run=run)

    def work(self, images: SuperResolved) -> Segmented:
        """Segment the super-resolved images."""
        return segment_study(images, self.bundle, progress=self.run.progress(self.stage))
