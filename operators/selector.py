"""Chooses the series."""

from __future__ import annotations

from acuity.pipeline.graph import SELECT
from operators.stage import StageOperator


class SelectorOperator(StageOperator):
    """``study`` -> ``selection``: one series for each of T1, T1c, T2 and FLAIR."""

    stage = SELECT
