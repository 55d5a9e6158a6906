"""What every evaluation says of how it was made, for its ``settings.json``."""

from __future__ import annotations

import torch

from acuity.pipeline.result import software
from acuity.research.evaluation import statistics


def common_settings(definitions: tuple[str, ...]) -> dict[str, object]:
    """Definitions of the columns, and how intervals and times were got, by which software."""
    return {
        "definitions": list(definitions),
        "bootstrap": statistics.DESCRIPTION,
        "timing": {"threads": torch.get_num_threads(), "gpu": torch.cuda.is_available()},
        "software": software(),
    }
