"""Segmenting by a random forest, voxel by voxel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from acuity.anatomy import REGION_LABELS, Label, Region, Sequence, regions_to_labels
from acuity.imaging.regions import tidied
from acuity.models.segmentation import SegmentationResult, network_channels
from acuity.research.forest.features import voxel_features
from acuity.research.forest.file import Forest, read_forest
from acuity.research.segmenters import Segmenter
from acuity.volume import Volume


def load_forest(path: Path) -> Segmenter:
    """A forest that ``acuity train forest`` wrote.

    Raises
    ------
    DataError : see ``acuity.research.forest.file.read_forest``
    """
    forest = read_forest(path)

    def run(volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
        return segment_by_voxel(forest, volumes, brain)

    return run


def segment_by_voxel(forest: Forest, volumes: Mapping[Sequence, Volume], brain: Volume) -> SegmentationResult:
    """Classify each voxel of the brain on the images' own grid, whatever its axes and spacing.

    A region's probability is the sum of its labels'; above 0.5 it is found, and tidied as networks' results are.

    Parameters
    ----------
    volumes : the sequences on one grid, in any intensities; one that is unknown is left out
    brain : uint8 mask on that grid

    Raises
    ------
    As ``acuity.models.segmentation.segment``.
    """
    channels = network_channels(volumes, brain)
    voxels = np.argwhere(brain.array > 0)
    classes = forest.probabilities(voxel_features(channels, brain, voxels, forest.features))
    belongs = np.array([[label in REGION_LABELS[region] for label in Label] for region in Region], dtype=np.float64)
    probabilities = np.zeros((len(Region), *brain.shape), dtype=np.float32)
    probabilities[(slice(None), *voxels.T)] = belongs @ classes.T
    labels = regions_to_labels(tidied(probabilities > 0.5, voxel_ml=brain.grid.voxel_volume))
    return SegmentationResult(brain.with_array(labels), probabilities)
