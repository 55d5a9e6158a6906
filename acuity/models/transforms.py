"""The steps of data pipelines that bundle configs name, as MONAI dictionary transforms."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type

from acuity.anatomy import regions_to_labels
from acuity.imaging.intensity import zscore
from acuity.imaging.regions import DEFAULT, Postprocessing, calibrated, tidied
from acuity.volume import Grid, Volume

_FIRST = re.compile(r"(.+)[_-](?:t1|t1n|t1w)", re.IGNORECASE)  # the image that a case is loaded by


def case_name(path: str | Path) -> str:
    """The case of an image file, as BraTS names files: CASE for CASE_t1.nii.gz and CASE-t1n.nii; else the file's name.

    Only T1 is taken for a case's file: it comes first where several are one image.
    """
    name = Path(path).name.removesuffix(".gz").removesuffix(".nii")
    case = _FIRST.fullmatch(name)
    return case[1] if case else name


def output_name(meta: Mapping[str, Any] | None, saver: object) -> dict[str, str]:
    """Name what MONAI's SaveImaged writes after the case (its ``output_name_formatter``)."""
    name = case_name((meta or {}).get("filename_or_obj", "image"))
    return {
        "subject": f"{name}.nii.gz"
    }  # MONAI takes the ending off again, and so keeps what follows a dot in the name


class ChannelsOrderedd(MapTransform):
    """Bring the channels of an image into the order of the networks, where its file has another one.

    Parameters
    ----------
    keys : of the images
    order_key : of the numbers of the channels, in the networks' order; without it they stay as they are
    """

    def __init__(self, keys: str | Collection[Hashable], order_key: str = "channels") -> None:
        super().__init__(keys)
        self.order_key = order_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Images (C, D, H, W) to (C', D, H, W)."""
        result = dict(data)
        if self.order_key in result:
            for key in self.key_iterator(result):
                result[key] = result[key][list(result[self.order_key])]
        return result


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
