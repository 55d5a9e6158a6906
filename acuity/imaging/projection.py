"""Projecting an image onto those that degrade to what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

CONSISTENT = 1e-3  # of the intensity range: the largest residual that projection leaves
MOST_STEPS = 300
PATIENCE = 50  # steps without a smaller residual


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
