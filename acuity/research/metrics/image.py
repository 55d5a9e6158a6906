"""How far an image is from the truth, and how natural it looks without one.

All take a slice as a float array (H, W). ``data_range`` is the distance of the smallest and the largest intensity that
can occur; nothing guesses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.special import gamma
from skimage import metrics

from acuity.errors import DataError
from acuity.imaging.forward_model import downsample_cubic

GRAY_LEVELS = 255.0

Array = NDArray[np.floating]


def mean_squared_error(preds: Array, target: Array, *, data_range: float) -> float:
    """Mean of the squared differences in gray levels of 0 to 255, whatever ``data_range`` is: the paper's unit."""
    return float(metrics.mean_squared_error(target, preds)) * (GRAY_LEVELS / data_range) ** 2


def peak_signal_noise_ratio(preds: Array, target: Array, *, data_range: float) -> float:
    """10 log10(data_range^2 / MSE) in dB, infinite where both are equal (scikit-image)."""
    with np.errstate(divide="ignore"):
        return float(metrics.peak_signal_noise_ratio(target, preds, data_range=data_range))


def structural_similarity(preds: Array, target: Array, *, data_range: float) -> float:
    """SSIM as published, at most 1: Gaussian window of 11x11 and sigma 1.5, K1 0.01, K2 0.03 (scikit-image).

    Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Processing 13(4), 2004. The mean is over the pixels whose window
    lies inside the image.
    """
    return float(
        metrics.structural_similarity(
            target, preds, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


class DataConsistency(NamedTuple):
    """How far a degraded result is from its low resolution, in parts of the intensity range."""

    maximum: float
    root_mean_square: float


def data_consistency(sr: Array, lr: Array, degrade: Callable[[Array], Array], *, data_range: float) -> DataConsistency:
    """The residual degrade(sr) - lr: what a super-resolved image contradicts of the measured one.

    Parameters
    ----------
    sr : (H, W)
    lr : (h, w)
    degrade : the known degradation, from (H, W) to (h, w)
    """
    residual = (np.asarray(degrade(sr), dtype=np.float64) - lr) / data_range
    return DataConsistency(float(np.abs(residual).max()), float(np.sqrt(np.mean(residual**2))))


@dataclass(frozen=True)
class NiqeModel:
    """The multivariate normal distribution of NIQE's features over patches of good images.

    Parameters
    ----------
    mean : (36,)
    covariance : (36, 36)
    patch_size : pixels along each side of the patches it was fitted on
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    patch_size: int


# Patches less sharp than this part of the sharpest one of their image do not show what a good image is.
_SHARPNESS_PART = 0.75
_SHAPES = np.arange(0.2, 10.001, 0.001)
_SHAPE_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))
_NEIGHBORS = ((0, 1), (1, 0), (1, 1), (1, -1))
_FEATURES = 36


def fit_niqe(images: Sequence[Array], *, data_range: float, patch_size: int = 96) -> NiqeModel:
    """Learn what good images look like, for ``niqe``.

    Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE Signal Processing Letters
    20(3), 2013. The authors' own model, of 125 photographs, comes as a MATLAB file under terms of its own and is not
    carried here: scores of a model fitted on other images are comparable with one another, not with published ones.

    Parameters
    ----------
    images : (H, W) each, at least ``patch_size`` along both sides; their patches without overlap, those left out that
        are blurred or mostly background
    patch_size : even; 96 as published. A brain slice holds more of 48 or 32.

    Raises
    ------
    DataError : where the images hold fewer patches than there are features
    """
    kept = []
    for image in images:
        features, sharpness = _niqe_features(image, data_range, patch_size)
        if len(features):
            kept.append(features[sharpness > _SHARPNESS_PART * sharpness.max()])
    rows = np.concatenate(kept) if kept else np.empty((0, _FEATURES))
    if len(rows) <= _FEATURES:
        raise DataError(
            f"The {len(images)} images hold {len(rows)} sharp patches of {patch_size} pixels.",
            rule=f"The covariance of NIQE's {_FEATURES} features needs more than {_FEATURES} patches.",
            remedy="Give more images, or choose smaller patches.",
        )
    return NiqeModel(rows.mean(axis=0), np.cov(rows, rowvar=False), patch_size)


def niqe(image: Array, model: NiqeModel, *, data_range: float) -> float:
    """Natural image quality evaluator: the distance of an image's features from those of good images; 0 is best.

    sqrt(d' ((S1 + S2) / 2)^-1 d), d the difference of the means and S1, S2 the covariances over patches. No truth is
    needed, and none is compared with: an invented texture may score well.

    Parameters
    ----------
    image : (H, W), at least two patches of the model in it that are not mostly background (exactly 0)

    Raises
    ------
    DataError : where it holds fewer
    """
    rows, _ = _niqe_features(image, data_range, model.patch_size)
    if len(rows) < 2:
        raise DataError(
            f"An image of {image.shape[0]}x{image.shape[1]} holds {len(rows)} patches of {model.patch_size} pixels "
            "that are not mostly background.",
            rule="NIQE compares the mean and the covariance over patches, so that it needs two at least.",
            remedy="Fit the model with smaller patches, or leave the slice out.",
        )
    difference = rows.mean(axis=0) - model.mean
    covariance = (np.cov(rows, rowvar=False) + model.covariance) / 2
    return math.sqrt(max(0.0, float(difference @ np.linalg.pinv(covariance, hermitian=True) @ difference)))


def asymmetric_generalized_gaussian(samples: Array) -> tuple[NDArray, NDArray, NDArray]:
    """Shape and left and right scale of the distribution of each row of (R, S), by matching moments.

    Lasmar, Stitou, Berthoumieu, ICIP 2009; the density is proportional to exp(-(|x| / scale)^shape) on each side.
    """
    below, above = np.minimum(samples, 0), np.maximum(samples, 0)
    left = np.sqrt((below**2).sum(axis=1) / np.maximum((samples < 0).sum(axis=1), 1))
    right = np.sqrt((above**2).sum(axis=1) / np.maximum((samples > 0).sum(axis=1), 1))
    skew = left / right
    ratio = np.abs(samples).mean(axis=1) ** 2 / (samples**2).mean(axis=1)
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = np.interp(ratio, _SHAPE_RATIOS, _SHAPES)  # the ratio grows with the shape
    to_scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * to_scale, right * to_scale


def _niqe_features(image: Array, data_range: float, patch_size: int) -> tuple[NDArray, NDArray]:
    """(P, 36) features at full and half size, and (P,) sharpness, of the patches that are not mostly background."""
    if patch_size % 2:
        raise ValueError(f"patch_size is {patch_size}; it is halved at the second scale, so it must be even")
    height, width = (n - n % patch_size for n in image.shape)
    if not height or not width:
        return np.empty((0, _FEATURES)), np.empty(0)
    gray = np.asarray(image[:height, :width], dtype=np.float64) * (GRAY_LEVELS / data_range)
    foreground = (_tiles(gray, patch_size) != 0).mean(axis=(1, 2)) >= 0.5
    if not foreground.any():
        return np.empty((0, _FEATURES)), np.empty(0)
    features, sharpness = [], np.empty(0)
    for size in (patch_size, patch_size // 2):
        normalized, deviation = _normalize(gray)
        if size == patch_size:
            sharpness = _tiles(deviation, size).mean(axis=(1, 2))[foreground]
        features.append(_patch_features(_tiles(normalized, size)[foreground]))
        gray = downsample_cubic(gray, (2.0, 2.0)).astype(np.float64)
    rows = np.concatenate(features, axis=1)
    # A patch of one value has no distribution.
    usable = np.isfinite(rows).all(axis=1)
    return rows[usable], sharpness[usable]


def _normalize(gray: NDArray) -> tuple[NDArray, NDArray]:
    """Mean-subtracted contrast-normalized coefficients and local deviation, in a 7x7 Gaussian window of sigma 7/6."""
    window = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    window /= window.sum()

    def smooth(x: NDArray) -> NDArray:
        return correlate1d(correlate1d(x, window, axis=0, mode="nearest"), window, axis=1, mode="nearest")

    mean = smooth(gray)
    deviation = np.sqrt(np.abs(smooth(gray**2) - mean**2))
    return (gray - mean) / (deviation + 1), deviation


def _tiles(image: NDArray, size: int) -> NDArray:
    """(H, W) to its (P, size, size) tiles."""
    return sliding_window_view(image, (size, size))[::size, ::size].reshape(-1, size, size)


def _patch_features(tiles: NDArray) -> NDArray:
    """(P, 18): shape and scale of the coefficients; shape, mean, left and right scale of four neighbors' products."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shape, left, right = asymmetric_generalized_gaussian(tiles.reshape(len(tiles), -1))
        columns = [shape, (left + right) / 2]
        size = tiles.shape[1]
        for down, aside in _NEIGHBORS:
            here = tiles[:, : size - down, max(0, -aside) : size - max(0, aside)]
            there = tiles[:, down:, max(0, aside) : size - max(0, -aside)]
            shape, left, right = asymmetric_generalized_gaussian((here * there).reshape(len(tiles), -1))
            columns += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return np.stack(columns, axis=1)
