"""A random forest that segments by features of single voxels: the baseline that learns no features itself.

``features`` describes voxels, ``training`` fits the forest, ``segmenter`` stores and applies it. This module imports
nothing slow, so that a command line can be read by ``Plan`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """How a forest is trained.

    Parameters
    ----------
    trees, depth : of the forest; it splits by Gini impurity
    folds : of the cases, for scores and calibration
    voxels_per_case : drawn for training
    seed : of voxels, folds and trees
    jobs : threads; the result is the same with any number
    """

    trees: int = 175
    depth: int = 60
    folds: int = 5
    voxels_per_case: int = 3000
    seed: int = 0
    jobs: int = 1
