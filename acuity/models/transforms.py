"""The steps of data pipelines that bundle configs name, as MONAI dictionary transforms."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type

from acuity.anatomy import regions_to_labels
from acuity.imaging.intensity import zscore
from acuity.imaging.regions import DEFAULT, Postprocessing, calibrated, tidied
from acuity.volume import Grid, Volume


class BrainZScored(MapTransform):
    """Z-score each channel of a skull-stripped image over the brain: the voxels where any channel is above 0."""

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict[Hashable, MetaTensor]:
        """Images (C, D, H, W) of any scale to float32 within -5..5, 0 outside the brain."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            channels = image.numpy(force=True)
            mask = Volume((channels > 0).any(axis=0).astype(np.uint8), np.eye(4))
            scores = np.stack([zscore(mask.with_array(channel), mask).array for channel in channels])
            result[key] = convert_to_dst_type(scores, image)[0]
        return result


class RegionsToLabelsd(MapTransform):
    """Logits of ET, TC and WT to the labels 0, 1, 2, 4, as the application makes them.

    Parameters
    ----------
    keys : of the logits
    postprocessing : as the bundle has it
    """

    def __init__(self, keys: str | Collection[Hashable], postprocessing: Postprocessing = DEFAULT) -> None:
        super().__init__(keys)
        self.postprocessing = postprocessing

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict[Hashable, MetaTensor]:
        """Logits (3, D, H, W) with their affine (mm) to uint8 labels (1, D, H, W)."""
        result = dict(data)
        for key in self.key_iterator(result):
            logits = result[key]
            probabilities = calibrated(logits.numpy(force=True), self.postprocessing.temperatures)
            voxel_ml = Grid(logits.shape[1:], logits.affine.numpy(force=True)).voxel_volume
            labels = regions_to_labels(tidied(probabilities, self.postprocessing, voxel_ml=voxel_ml))
            result[key] = convert_to_dst_type(labels[None], logits, dtype=torch.uint8)[0]
        return result
