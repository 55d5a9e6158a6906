"""Super-resolves the sequences."""

from __future__ import annotations

from acuity.pipeline.preparation import Prepared
from acuity.pipeline.stages import SuperResolved, super_resolve_study
from operators.stage import StageOperator


class SuperResolutionOperator(StageOperator):
    """``prepared`` -> ``images``: four volumes on one fine grid."""

    stage = "super-resolve"
    inputs = ("prepared",)
    output = "images"

    def work(self, prepared: Prepared) -> SuperResolved:
        """Super-resolve as the user asked for."""
        options = self.run.options
        return super_resolve_study(
            prepared,
            self.bundle,
            spacing=options.spacing,
            progress=self.run.progress(self.stage),
            denoising=options.denoising,
            fusion=options.fusion,
        )
