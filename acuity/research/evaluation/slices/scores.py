"""What is measured of each slice and method."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acuity.errors import DataError
from acuity.imaging.denoising import nyquist_energy
from acuity.imaging.forward_model import resize_cubic
from acuity.imaging.projection import back_project
from acuity.research.evaluation import columns as col
from acuity.research.losses.perceptual import PerceptualLoss
from acuity.research.metrics.image import (
    NiqeModel,
    data_consistency,
    fit_niqe,
    mean_squared_error,
    niqe,
    peak_signal_noise_ratio,
    structural_similarity,
)

logger = logging.getLogger(__name__)

DATA_RANGE = 1.0  # of slices whose volume was divided by the 99.9th percentile of its values above 0
NIQE_PATCH = 48  # a brain slice holds few patches of the published 96
PERCEPTUAL_LAYERS = dict.fromkeys(("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"), 0.2)

METRICS = (
    col.MSE,
    col.PSNR,
    col.SSIM,
    col.PERCEPTUAL,
    col.NIQE,
    col.NYQUIST,
    col.RESIDUAL_MAX,
    col.RESIDUAL_RMS,
    col.PROJECTED_MAX,
    col.PROJECTED_RMS,
    col.PROJECTION_STEPS,
)


@dataclass(frozen=True)
class Truth:
    """What results for a slice are compared with.

    Parameters
    ----------
    image : (H, W), clipped to 0..1
    lr : (1, 1, h, w), what the methods are given
    features : of ``image`` for the perceptual distance; empty without one
    """

    image: NDArray[np.float32]
    lr: Tensor
    features: list[Tensor]


@dataclass(frozen=True)
class Judge:
    """All that scoring needs besides the images.

    Parameters
    ----------
    degrade : (1, 1, H, W) to (1, 1, h, w), as the low resolution was made
    scale : H / h
    perceptual : None leaves that column empty
    niqe_model : None leaves that column empty
    """

    degrade: Callable[[Tensor], Tensor]
    scale: int
    perceptual: PerceptualLoss | None
    niqe_model: NiqeModel | None

    def truth(self, hr: Tensor) -> Truth:
        """What is the same for all methods on a slice (1, 1, H, W)."""
        target = hr.clamp(0, 1)
        return Truth(target[0, 0].numpy(), self.degrade(hr), self._features(target) if self.perceptual else [])

    def scores(self, sr: Tensor, truth: Truth) -> dict[str, float]:
        """METRICS of a result (1, 1, H, W); NaN where one cannot be had.

        Fidelity, perceptual distance, NIQE and Nyquist amplitude are those of the result and the truth clipped to
        0..1; the residuals are of the result as it is, since clipping would hide part of what it contradicts.
        """
        preds = sr.clamp(0, 1)
        image, target = preds[0, 0].numpy(), truth.image
        projected, steps = back_project(sr, truth.lr, self.degrade, self._interpolate)
        raw, after = (self._consistency(x, truth.lr) for x in (sr, projected))
        return {
            col.MSE: mean_squared_error(image, target, data_range=DATA_RANGE),
            col.PSNR: peak_signal_noise_ratio(image, target, data_range=DATA_RANGE),
            col.SSIM: structural_similarity(image, target, data_range=DATA_RANGE),
            col.PERCEPTUAL: self._distance(preds, truth.features),
            col.NIQE: self.niqe(image, target),
            col.NYQUIST: nyquist_amplitude(image),
            col.RESIDUAL_MAX: raw[0],
            col.RESIDUAL_RMS: raw[1],
            col.PROJECTED_MAX: after[0],
            col.PROJECTED_RMS: after[1],
            col.PROJECTION_STEPS: float(steps),
        }

    def niqe(self, image: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
        """NIQE over the patches in which the truth is not mostly background; NaN where there are too few."""
        if self.niqe_model is None:
            return math.nan
        size = self.niqe_model.patch_size
        try:
            return niqe(without_background(image, truth, size), self.niqe_model, data_range=DATA_RANGE)
        except DataError as error:
            logger.debug("a slice has no NIQE: %s", error.found)
            return math.nan

    def _features(self, image: Tensor) -> list[Tensor]:
        assert self.perceptual is not None
        return self.perceptual.features(image.to(self.perceptual.features.gain.device))

    def _distance(self, preds: Tensor, wanted: Seq[Tensor]) -> float:
        """``PerceptualLoss``, the truth's features, half of its cost, taken once for all methods."""
        return math.nan if self.perceptual is None else float(self.perceptual.between(self._features(preds), wanted))

    def _interpolate(self, difference: Tensor) -> Tensor:
        size = (difference.shape[-2] * self.scale, difference.shape[-1] * self.scale)
        return resize_cubic(difference, size, (1 / self.scale, 1 / self.scale))

    def _consistency(self, sr: Tensor, lr: Tensor) -> tuple[float, float]:
        def degrade(image: NDArray[np.floating]) -> NDArray[np.float32]:
            return self.degrade(torch.from_numpy(np.asarray(image))[None, None])[0, 0].numpy()

        return data_consistency(sr[0, 0].numpy(), lr[0, 0].numpy(), degrade, data_range=DATA_RANGE)


def nyquist_amplitude(image: NDArray[np.float32]) -> float:
    """Amplitude of the checkerboard that has as much energy at the Nyquist frequency as the image."""
    return math.sqrt(nyquist_energy(image))


def without_background(image: NDArray[np.float32], truth: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The image with those of its tiles set to 0 in which ``truth`` is 0 for the most part.

    NIQE leaves out tiles that are mostly 0. What a network makes of a background is not exactly 0: without this each
    method would be judged by other tiles.
    """
    result = image.copy()
    for i in range(0, image.shape[0], size):
        for j in range(0, image.shape[1], size):
            if (truth[i : i + size, j : j + size] != 0).mean() < 0.5:
                result[i : i + size, j : j + size] = 0
    return result


def perceptual_distance(device: torch.device) -> PerceptualLoss | None:
    """The distance in VGG16's features, all blocks alike; None, with a warning, where its weights are not installed.

    VGG19 guides most methods' training: another network judges them.
    """
    try:
        return PerceptualLoss(PERCEPTUAL_LAYERS, network="vgg16", relative=True).to(device)
    except DataError as error:
        logger.warning("no perceptual distance: %s", error)
        return None


def niqe_of(images: Seq[NDArray[np.float32]]) -> NiqeModel | None:
    """NIQE's model of good slices; None, with a warning, where they hold too few patches."""
    try:
        return fit_niqe([np.clip(image, 0, 1) for image in images], data_range=DATA_RANGE, patch_size=NIQE_PATCH)
    except DataError as error:
        logger.warning("no NIQE: %s", error)
        return None
