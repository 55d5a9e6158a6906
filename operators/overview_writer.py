"""Writes the overview picture."""

from __future__ import annotations

from acuity.pipeline.graph import WRITE_OVERVIEW
from operators.stage import StageOperator


class OverviewWriterOperator(StageOperator):
    """``tumor`` and ``report`` in, a picture with outlines on disk."""

    stage = WRITE_OVERVIEW
