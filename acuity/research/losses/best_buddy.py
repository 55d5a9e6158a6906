"""Beby-GAN's best-buddy loss and its mask of flat regions.

Li, Zhou, Qi, Lu, Lu, Jia, "Best-Buddy GANs for Highly Detailed Image Super-Resolution", AAAI 2022
(arXiv:2103.15295).
"""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

from acuity.imaging.forward_model import resize_cubic

PATCH = 3
CANDIDATE_SHRINKING = (1, 2, 4)
FLAT_WINDOW = 11
FLAT_STANDARD_DEVIATION = 0.025  # of intensities 0 to 1


def best_buddy_loss(sr: Tensor, hr: Tensor) -> Tensor:
    """L1 between each 3x3 patch of sr and its best buddy, the patch of the truth that is nearest to both sr and hr.

    Parameters
    ----------
    sr, hr : (N, C, H, W), 0 to 1, at least 12x12
    """
    return F.l1_loss(_patches(sr), best_buddies(sr, hr))


@torch.no_grad()
def best_buddies(sr: Tensor, hr: Tensor) -> Tensor:
    """The candidates g, (N, C * 9, P), that minimize |g - hr_i|^2 + |g - sr_i|^2 for each patch i of sr.

    Candidates are all 3x3 patches (stride 3) of the same hr at full, half and quarter size, shrunk by antialiased
    cubic interpolation.
    """
    height, width = hr.shape[-2:]
    scales = [_patches(resize_cubic(hr, (height // n, width // n), (n, n))) for n in CANDIDATE_SHRINKING]
    candidates = torch.cat(scales, dim=2)
    # The sum of squared distances to two points is least where the distance to their middle is least.
    middles = (_patches(sr) + scales[0]) / 2
    return torch.stack([c[:, _nearest(m.T, c.T)] for m, c in zip(middles, candidates, strict=True)])


def flat_mask(lr: Tensor, scale: int) -> Tensor:
    """1 where the image is flat and 0 where it has texture; the discriminator sees image * (1 - mask).

    The image is flat where the standard deviation in 11x11 pixels of the cubically interpolated lr is below 0.025.

    Parameters
    ----------
    lr : (N, 1, h, w), 0 to 1

    Returns
    -------
    float (N, 1, scale * h, scale * w), 0 or 1
    """
    size = (lr.shape[-2] * scale, lr.shape[-1] * scale)
    image = resize_cubic(lr, size, (1 / scale, 1 / scale))
    pad = FLAT_WINDOW // 2
    image = F.pad(image, (pad, pad, pad, pad), mode="replicate")
    mean, mean_square = (F.avg_pool2d(x, FLAT_WINDOW, stride=1) for x in (image, image.square()))
    return ((mean_square - mean.square()) < FLAT_STANDARD_DEVIATION**2).to(lr.dtype)


def _patches(image: Tensor) -> Tensor:
    return F.unfold(image, PATCH, stride=PATCH)


def _nearest(points: Tensor, candidates: Tensor) -> Tensor:
    """Index of the nearest of (Q, F) for each of (P, F)."""
    if points.is_cuda:
        return torch.cdist(points, candidates, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
    # On a CPU, several times faster than computing all distances, with the same result.
    _, indices = cKDTree(candidates.numpy()).query(points.numpy())
    return torch.from_numpy(indices)
