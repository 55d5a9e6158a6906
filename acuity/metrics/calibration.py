"""Whether probabilities are what they say: how often a region is there where it was given some probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
LOWEST = 0.01  # voxels below are left out: of the millions that are surely healthy, none would be seen beside them


@dataclass(frozen=True)
class Reliability:
    """Voxels by their probability, in BINS bins of one width from 0 to 1; those of several cases add up.

    Parameters
    ----------
    voxels : (BINS,), how many
    positives : (BINS,), how many of them lie in the region
    probabilities : (BINS,), the sum of their probabilities
    """

    voxels: NDArray[np.int64]
    positives: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.voxels + other.voxels, self.positives + other.positives,
                           self.probabilities + other.probabilities)  # fmt: skip

    @property
    def expected_calibration_error(self) -> float:
        """Mean of |frequency - probability| of the bins, weighted by their voxels; NaN without voxels.

        Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
        """
        total = int(self.voxels.sum())
        return float(np.abs(self.positives - self.probabilities).sum() / total) if total else float("nan")


def reliability(probabilities: NDArray[np.floating], target: NDArray[np.bool_]) -> Reliability:
    """Count the voxels of one region.

    Voxels are chosen by their probability alone (LOWEST at least): choosing by the truth would make any probability
    seem too low or too high.

    Parameters
    ----------
    probabilities : 0 to 1, of any shape
    target : of the same shape, where the region is
    """
    chosen = probabilities >= LOWEST
    values = probabilities[chosen].astype(np.float64)
    bins = np.minimum((values * BINS).astype(int), BINS - 1)
    return Reliability(
        np.bincount(bins, minlength=BINS),
        np.bincount(bins[target[chosen]], minlength=BINS),
        np.asarray(np.bincount(bins, weights=values, minlength=BINS), dtype=np.float64),
    )
