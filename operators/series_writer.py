"""Writes the super-resolved series."""

from __future__ import annotations

from acuity.pipeline.graph import WRITE_SERIES
from operators.stage import StageOperator


class SeriesWriterOperator(StageOperator):
    """``images`` -> ``series``: four derived MR series on disk."""

    stage = WRITE_SERIES
