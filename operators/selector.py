"""Chooses the series."""

from __future__ import annotations

from acuity.pipeline.stages import Chosen, Loaded, choose_series
from operators.stage import StageOperator


class SelectorOperator(StageOperator):
    """``study`` -> ``selection``: one series for each of T1, T1c, T2 and FLAIR."""

    stage = "select"
    inputs = ("study",)
    output = "selection"

    def work(self, study: Loaded) -> Chosen:
        """Choose by the user's rules and names, or by the built-in rules."""
        return choose_series(study, rules=self.run.options.rules, named=self.run.options.series)
