"""Reads the study's headers."""

from __future__ import annotations

from acuity.pipeline.graph import READ
from operators.stage import StageOperator


class LoaderOperator(StageOperator):
    """Input folder of the run -> ``study``."""

    stage = READ
