"""Reads the study's headers."""

from __future__ import annotations

from acuity.pipeline.stages import Loaded, load_study
from operators.stage import StageOperator


class LoaderOperator(StageOperator):
    """Input folder of the run -> ``study``."""

    stage = "read"
    output = "study"

    def work(self) -> Loaded:
        """Read the study."""
        return load_study(self.run.options.input)
