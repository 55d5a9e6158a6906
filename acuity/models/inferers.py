"""Acuity's inference as MONAI inferers, for bundles that ``python -m monai.bundle`` runs."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import nn

from acuity.imaging.forward_model import SliceProfile
from acuity.models.segmentation import WORKING_SPACING, coarse_to_fine
from acuity.models.super_resolution import Denoising, super_resolve
from acuity.networks.cascade import CoarseToFine
from acuity.volume import RAS_LPS, Volume


class CoarseToFineInferer(Inferer):
    """Segments whole brains at 1 mm, see ``acuity.models.segmentation.coarse_to_fine``."""

    def __call__(self, inputs: MetaTensor, network: CoarseToFine, *args: Any, **kwargs: Any) -> MetaTensor:
        """Images (N, 4, D, H, W), axes to the left, back and head, to logits (N, 3, D, H, W) of ET, TC, WT.

        Raises
        ------
        ValueError : voxels that are not of 1 mm
        """
        axes = inputs.affine.numpy(force=True).reshape(-1, 4, 4)[:, :3, :3]
        spacing = np.linalg.norm(axes, axis=1)
        if not np.allclose(spacing, WORKING_SPACING, rtol=0.02):
            raise ValueError(
                f"voxels measure {spacing.round(3).tolist()} mm; the networks segment voxels of {WORKING_SPACING} mm"
                " alone: resample the images first, or run the application, which does so"
            )
        logits = torch.stack([coarse_to_fine(image, network) for image in inputs.as_tensor()])
        return convert_to_dst_type(logits, inputs)[0]


class SuperResolutionInferer(Inferer):
    """Super-resolves whole volumes to a target spacing.

    Parameters
    ----------
    spacing : coarsest spacing in mm along the three axes after super-resolution; a finer axis keeps its own
    denoising, fusion, slice_profile : see ``acuity.models.super_resolution.super_resolve``
    """

    def __init__(
        self,
        spacing: Seq[float] = (1.0, 1.0, 1.0),
        denoising: Denoising | None = None,
        fusion: bool = False,
        slice_profile: SliceProfile = "cubic",
    ) -> None:
        super().__init__()
        self.spacing = spacing
        self.options: dict[str, Any] = {"denoising": denoising, "fusion": fusion, "slice_profile": slice_profile}

    def __call__(self, inputs: MetaTensor, network: nn.Module, *args: Any, **kwargs: Any) -> MetaTensor:
        """A volume (1, 1, D, H, W), at least 0, with its affine (RAS, mm), to the sharper one with its own affine.

        Raises
        ------
        ValueError : a batch of several volumes, whose sizes may differ after super-resolution
        """
        if inputs.shape[:2] != (1, 1):
            raise ValueError(
                f"inputs have shape {tuple(inputs.shape)}; one volume of one channel is super-resolved at a time"
            )
        affine = inputs.affine.numpy(force=True).reshape(4, 4)
        volume = Volume(inputs.numpy(force=True)[0, 0], RAS_LPS @ affine)
        i, j, k = (float(s) for s in np.minimum(self.spacing, volume.spacing))
        sharp = super_resolve(volume, network, spacing=(i, j, k), **self.options).volume
        new_affine = torch.from_numpy(RAS_LPS @ sharp.affine)[None]
        # Writers go back to the original grid, which is this one.
        geometry = {"affine": new_affine, "original_affine": new_affine, "spatial_shape": torch.tensor([sharp.shape])}
        image = torch.from_numpy(sharp.array)[None, None].to(inputs.device)
        result = MetaTensor(image, meta={**inputs.meta, **geometry})
        result.is_batch = True
        return result
