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

from acuity.anatomy import Region
from acuity.imaging.forward_model import SliceProfile
from acuity.imaging.regions import mask_box
from acuity.models.progress import bar
from acuity.models.segmentation import at_working_spacing, coarse_to_fine
from acuity.models.super_resolution import Denoising, super_resolve
from acuity.models.transforms import case_name
from acuity.networks.cascade import CoarseToFine
from acuity.volume import RAS_LPS, Volume

OUTSIDE = -1000.0  # logit of what is no brain: a probability of 0 in float32


class CoarseToFineInferer(Inferer):
    """Segments whole brains of any spacing as the application does, see ``acuity.models.segmentation.segment_by``.

    Parameters
    ----------
    progress : show a bar for each image
    """

    def __init__(self, progress: bool = False) -> None:
        super().__init__()
        self.progress = progress

    def __call__(self, inputs: MetaTensor, network: CoarseToFine, *args: Any, **kwargs: Any) -> MetaTensor:
        """Images (N, 4, D, H, W), axes to the left, back and head, to logits (N, 3, D, H, W) of ET, TC, WT.

        They are z-scored over the brain and 0 outside, where the logits are OUTSIDE.
        """
        axes = inputs.affine.numpy(force=True).reshape(-1, 4, 4)[:, :3, :3]
        names = file_names(inputs)
        logits = torch.full((len(inputs), len(Region), *inputs.shape[2:]), OUTSIDE, device=inputs.device)
        for n, (image, spacing) in enumerate(zip(inputs.as_tensor(), np.linalg.norm(axes, axis=1), strict=True)):
            brain = (image != 0).any(dim=0)
            box = mask_box(brain.numpy(force=True))
            if box is None:
                raise ValueError(f"{names[n]} is 0 everywhere: there is no brain to segment")
            inside = (slice(None), *box)
            with bar(names[n], shown=self.progress) as progress:
                found = at_working_spacing(
                    lambda brain: coarse_to_fine(brain, network, progress),
                    image[inside],
                    spacing,
                )
            logits[n][inside] = torch.where(brain[box], found, OUTSIDE)
        return convert_to_dst_type(logits, inputs)[0]


class SuperResolutionInferer(Inferer):
    """Super-resolves whole volumes to a target spacing.

    Parameters
    ----------
    spacing : coarsest spacing in mm along the three axes after super-resolution; a finer axis keeps its own
    denoising, fusion, slice_profile : see ``acuity.models.super_resolution.super_resolve``
    progress : show a bar for each volume
    """

    def __init__(
        self,
        spacing: Seq[float] = (1.0, 1.0, 1.0),
        denoising: Denoising | None = None,
        fusion: bool = False,
        slice_profile: SliceProfile = "cubic",
        progress: bool = False,
    ) -> None:
        super().__init__()
        self.progress = progress
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
        with bar(file_names(inputs)[0], shown=self.progress) as progress:
            sharp = super_resolve(volume, network, spacing=(i, j, k), progress=progress, **self.options).volume
        new_affine = torch.from_numpy(RAS_LPS @ sharp.affine)[None]
        # Writers go back to the original grid, which is this one.
        geometry = {"affine": new_affine, "original_affine": new_affine, "spatial_shape": torch.tensor([sharp.shape])}
        image = torch.from_numpy(sharp.array)[None, None].to(inputs.device)
        result = MetaTensor(image, meta={**inputs.meta, **geometry})
        result.is_batch = True
        return result


def file_names(inputs: MetaTensor) -> list[str]:
    """The name of each image of a batch, of its file where it has one."""
    paths = inputs.meta.get("filename_or_obj")
    paths = paths if isinstance(paths, list | tuple) else [paths] * len(inputs)
    return [case_name(path) if path else f"image {n}" for n, path in enumerate(paths, start=1)]
