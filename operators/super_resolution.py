"""Super-resolves the sequences."""

from __future__ import annotations

from acuity.pipeline.graph import SUPER_RESOLVE
from operators.stage import StageOperator


class SuperResolutionOperator(StageOperator):
    """``prepared`` -> ``images``: four volumes on one fine grid."""

    stage = SUPER_RESOLVE
