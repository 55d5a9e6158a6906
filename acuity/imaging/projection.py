"""Projecting an image onto those that degrade to what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from acuity.imaging.forward_model import AxisMatrix, resize_axes

CONSISTENT = 1e-3  # of the intensity range: the largest residual that projection leaves
MOST_STEPS = 300
PATIENCE = 50  # steps without a smaller residual
INDEPENDENT = 1e-3  # of the largest singular value: below, measured samples repeat one another


def back_project(
    sr: Tensor,
    lr: Tensor,
    degrade: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
    *,
    tolerance: float = CONSISTENT,
) -> tuple[Tensor, int]:
    """Make a result agree with the measured image, by iterated back-projection (Irani, Peleg, CVGIP 53(3), 1991).

    Each step adds the residual, brought to the fine grid, and sets negative values to 0. Where a bright edge meets an
    empty background that takes hundreds of steps; Nesterov's momentum (Beck, Teboulle, SIAM J. Imaging Sciences 2(1),
    2009) makes it tens. The extrapolated image has no negative values either, so that one residual both directs and
    ends the search.

    Parameters
    ----------
    sr : on the fine grid, any number of axes
    lr : the measured image, on a scale where the intensity range is 1
    degrade : fine to measured grid
    back : measured to fine grid for a difference; about a right inverse of ``degrade``
    tolerance : largest residual of any sample at which the search ends. It also ends after MOST_STEPS, or PATIENCE
        steps without progress: magnitudes of k-space have lost their sign, and may never get there

    Returns
    -------
    The most consistent image found, and the steps to it: ``sr`` itself and 0 where that is consistent
    """
    best, steps, smallest = sr, 0, math.inf
    current = ahead = sr
    for step in range(MOST_STEPS + 1):
        difference = lr - degrade(ahead)
        residual = float(difference.abs().max())
        if residual < smallest:
            best, steps, smallest = ahead, step, residual
        if smallest < tolerance or step - steps == PATIENCE:
            break
        previous, current = current, (ahead + back(difference)).clamp_min_(0)
        ahead = (current + step / (step + 3) * (current - previous)).clamp_min_(0)
    return best, steps


def smallest_preimage(
    image: Tensor, size: tuple[int, ...], ratios: tuple[float, ...], matrices: Sequence[AxisMatrix]
) -> Tensor:
    """The image of the smallest L2 norm that ``resize_axes`` shrinks to ``image``, over its last ``len(size)`` axes.

    As the ``back`` of ``back_project`` it makes each step the orthogonal projection onto the consistent images. Cubic
    interpolation, which weakens the finest measured detail along each axis, needs many more steps.

    Parameters
    ----------
    size : samples of the result along each of those axes
    ratios : spacing of the result over that of ``image``, at most 1 along each axis
    matrices : for each of those axes, what shrinks along it
    """
    return resize_axes(image, size, ratios, [partial(_inverse_matrix, shrinking) for shrinking in matrices])


@lru_cache(maxsize=64)
def _inverse_matrix(shrinking: AxisMatrix, size_in: int, size_out: int, ratio: float) -> Tensor:
    """The float32 (size_out, size_in) Moore-Penrose inverse of the matrix that shrinks back to ``size_in`` samples."""
    with torch.inference_mode(False):
        matrix = shrinking(size_out, size_in, 1.0 / ratio).double()
        return torch.linalg.pinv(matrix, rtol=INDEPENDENT).float()
