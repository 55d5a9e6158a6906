"""Calibration of probabilities: how to measure it, how to reach it, and the Dice that probabilities let expect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

BINS = 10
LOWEST = 0.01  # probability; millions of surely healthy voxels below it would hide all others
TEMPERATURES = (0.1, 10.0)  # the range of the search; a network that needs another temperature is useless


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
        return Reliability(
            self.voxels + other.voxels, self.positives + other.positives, self.probabilities + other.probabilities
        )

    @property
    def expected_calibration_error(self) -> float:
        """Mean of |frequency - probability| of the bins, weighted by their voxels; NaN without voxels.

        Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
        """
        total = int(self.voxels.sum())
        return float(np.abs(self.positives - self.probabilities).sum() / total) if total else float("nan")


def reliability(probabilities: NDArray[np.floating], target: NDArray[np.bool_]) -> Reliability:
    """Count the voxels of one region.

    Voxels are chosen by their probability alone (LOWEST at least): a choice by the truth would bias every bin.

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


def fitted_temperature(logits: NDArray[np.floating], target: NDArray[np.bool_]) -> float:
    """The divisor of logits that gives the probabilities of the highest likelihood, within TEMPERATURES.

    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, for one region against the
    rest. The likelihood has a single maximum.

    Parameters
    ----------
    logits : of one region, of any shape, on cases that the network was not trained on
    target : of the same shape, where the region is
    """
    values, inside = logits.astype(np.float32).ravel(), logits[target].astype(np.float64).sum()

    def cost(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((np.logaddexp(0, values * np.float32(scale)).sum(dtype=np.float64) - scale * inside) / values.size)

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-3}).x))


def expected_dice(probabilities: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Expected Dice of a mask against a truth that has these probabilities: 2 sum pm / (sum p + sum m).

    This quotient of expectations differs little from the expectation of the quotient in regions of many voxels. NaN
    for an empty mask: its Dice is 0 or 1, and the voxels do not tell how likely an empty region is.

    Parameters
    ----------
    probabilities : calibrated, 0 to 1, of any shape
    mask : of the same shape
    """
    if not mask.any():
        return float("nan")
    total = probabilities.sum(dtype=np.float64) + mask.sum()
    return float(2 * probabilities[mask].sum(dtype=np.float64) / total)
