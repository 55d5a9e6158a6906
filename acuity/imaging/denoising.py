"""Removing noise and checkerboards from slices, before or after super-resolution, by non-local means.

Buades, Coll, Morel, "A non-local algorithm for image denoising", CVPR 2005, in the fast form of Darbon et al.,
ISBI 2008, as scikit-image has it. The paper that Acuity follows does not name its denoising algorithm.
"""

from __future__ import annotations

import numpy as np
import pywt
from numpy.typing import NDArray
from scipy import ndimage
from skimage.restoration import denoise_nl_means

from acuity.imaging.intensity import bright_end

PATCH_SIZE = 5  # pixels along each side of the patches that are compared
PATCH_DISTANCE = 6  # pixels over which similar patches are sought
STRENGTH = 0.6  # of the noise's standard deviation: the decay of the weights (scikit-image's h)
# Of the bright end. Below, the estimate is mostly anatomy: noise-free T2 and FLAIR slices give as much.
NEGLIGIBLE = 0.005
FOREGROUND_PART = 0.1  # of the bright end: fainter pixels are air
NYQUIST_BAND = 1 / 32  # cycles per pixel below 0.5 that still count as the checkerboard's frequency


def denoise(image: NDArray, sigma: float | None = None) -> NDArray[np.float32]:
    """Non-local means of one slice, or of a volume slice by slice.

    Afterwards the bias of Rician noise is subtracted: A = sqrt(max(M^2 - sigma^2, 0)) for a mean magnitude M
    (Gudbjartsson, Patz, MRM 34, 1995).

    Parameters
    ----------
    image : (H, W), or (I, J, K) whose slices lie along the last axis; magnitudes of any scale, at least 0
    sigma : standard deviation of the noise on the image's scale; None estimates one value for all slices

    Returns
    -------
    float32 of the same shape, at least 0. Pixels that are exactly 0 stay so. An image whose noise is below NEGLIGIBLE
    of its bright end comes back as it was.

    Raises
    ------
    ValueError : an array that is neither (H, W) nor (I, J, K), or not finite
    """
    pixels = np.asarray(image, dtype=np.float32)
    if pixels.ndim not in (2, 3) or not np.isfinite(pixels).all():
        raise ValueError(f"image has shape {pixels.shape}; it must be (H, W) or (I, J, K), and finite")
    level = noise_level(pixels) if sigma is None else sigma
    if level <= NEGLIGIBLE * bright_end(pixels):
        return pixels.copy()
    stack = pixels[..., None] if pixels.ndim == 2 else pixels
    smooth = np.empty_like(stack)
    for k in range(stack.shape[2]):
        smooth[..., k] = denoise_nl_means(
            stack[..., k],
            patch_size=PATCH_SIZE,
            patch_distance=PATCH_DISTANCE,
            h=STRENGTH * level,
            sigma=level,
            fast_mode=True,
            preserve_range=True,
        )
    unbiased = np.sqrt(np.maximum(smooth**2 - np.float32(level) ** 2, 0))
    return np.where(pixels > 0, unbiased.reshape(pixels.shape), 0).astype(np.float32)


def noise_level(image: NDArray) -> float:
    """The standard deviation, on the image's scale, that non-local means should take for noise; 0 without foreground.

    Random noise: median absolute deviation / 0.6745 of the diagonal db2 wavelet band (Donoho and Johnstone,
    Biometrika 81, 1994), inside the foreground, because the exact zeros around a stripped brain would make it 0.
    Checkerboards: a pattern a * (-1)^(i + j) (or stripes, (-1)^i) is locked to the pixel grid and shifts the median of
    its band by 2a. Patches out of phase differ by (2a)^2, like noisy ones with a variance of 2a^2. That variance is
    added, so that such patches are averaged and the pattern cancels.

    Fine anatomy raises the estimate (clean T1 slices give up to 0.013 of their bright end), interpolation lowers it.

    Parameters
    ----------
    image : (H, W), or (I, J, K) whose slices lie along the last axis; at least 0
    """
    pixels = np.asarray(image, dtype=np.float32)
    pixels = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
    inside = pixels > FOREGROUND_PART * bright_end(pixels)
    # The wavelet reaches over four pixels: an edge of the foreground within them is no noise.
    reach = np.ones((5, 5) if pixels.ndim == 2 else (5, 5, 1), dtype=bool)
    inside = ndimage.binary_erosion(inside, reach)[::2, ::2]
    if not inside.any():
        return 0.0
    # Periodised, a band has one sample for each second pixel, so that it can be masked.
    _, bands = pywt.dwt2(pixels, "db2", mode="periodization", axes=(0, 1))
    medians = [float(np.median(band[inside])) for band in bands]
    random = float(np.median(np.abs(bands[2][inside] - medians[2]))) / 0.6745
    return float(np.sqrt(random**2 + 2 * sum((median / 2) ** 2 for median in medians)))


def nyquist_energy(image: NDArray) -> float:
    """The checkerboard in a slice (H, W): the mean square of its part near the Nyquist frequency.

    That part has frequencies within NYQUIST_BAND of 0.5 cycles per pixel along H or W. A checkerboard of amplitude a
    over the whole slice adds a^2. A period of four pixels, which a second pixel shuffle can leave, lies outside.
    """
    spectrum = np.fft.fft2(np.asarray(image, dtype=np.float64), norm="forward")
    edge = 0.5 - NYQUIST_BAND
    rows, columns = (np.abs(np.fft.fftfreq(n)) >= edge for n in spectrum.shape)
    return float((np.abs(spectrum[rows[:, None] | columns[None]]) ** 2).sum())
