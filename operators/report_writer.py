"""Measures the tumor and writes the report."""

from __future__ import annotations

from acuity.pipeline.graph import WRITE_REPORT
from operators.stage import StageOperator


class ReportWriterOperator(StageOperator):
    """``tumor`` and ``segmentations`` -> ``report``: measurements, on disk too."""

    stage = WRITE_REPORT
