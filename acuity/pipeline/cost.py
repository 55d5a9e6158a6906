"""What a run will take, estimated from the grid on which it works.

Time and memory grow with the voxels of the super-resolved reference. The two lines below run through measured runs of
the application on the demo study in three protocols, on two CPUs without a GPU (the table "What it needs" of
``docs/deploying.md``, made by ``benchmarks/application.py``): 2.6 GiB and 107 s for 4.7 million voxels (the mean of two
protocols), 4.6 GiB and 318 s for 18.6 million. A large tumor or a head with its skull takes somewhat longer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from acuity.volume import Grid

_SECONDS = (36.0, 15.2)  # for any study, and for a million voxels
_GIB = (1.9, 0.146)
_CPUS = 2


@dataclass(frozen=True)
class Cost:
    """An estimate for one run.

    Parameters
    ----------
    shape : of the super-resolved grid
    spacing_mm : of the super-resolved grid
    seconds : of wall time on ``cpus`` CPUs without a GPU
    memory_gib : the most at once
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    seconds: float
    memory_gib: float
    cpus: int = _CPUS

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """One line for people, without a full stop."""
        minutes, seconds = divmod(round(self.seconds, -1), 60)
        return (
            f"about {minutes:.0f} min {seconds:.0f} s and {self.memory_gib:.1f} GiB on {self.cpus} CPUs, "
            f"for {' x '.join(map(str, self.shape))} voxels"
        )


def estimate_cost(reference: Grid, spacing: tuple[float, float, float]) -> Cost:
    """The cost of a run with this reference.

    Parameters
    ----------
    spacing : coarsest voxels wanted in mm along i, j, k, as a run is given them
    """
    i, j, k = np.minimum(reference.spacing, spacing)  # as super-resolution has it
    fine = reference.with_spacing((float(i), float(j), float(k)))
    millions = fine.shape[0] * fine.shape[1] * fine.shape[2] / 1e6
    seconds, gib = (fixed + slope * millions for fixed, slope in (_SECONDS, _GIB))
    return Cost(fine.shape, tuple(round(float(s), 4) for s in fine.spacing), round(seconds), round(gib, 2))
