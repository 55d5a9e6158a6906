"""Any metric of one image as a MONAI metric over a data set, for the bundles' evaluation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from numpy.typing import NDArray
from torch import Tensor


class ByChannel(CumulativeIterationMetric):
    """Applies a function to each channel of each image and averages over all of them.

    Parameters
    ----------
    metric : ``metric(preds, target)`` of two arrays of one shape, without batch and channel axes, to a number
    binary : hand masks to the metric: true above 0.5
    """

    def __init__(self, metric: Callable[[NDArray, NDArray], float], *, binary: bool = False) -> None:
        super().__init__()
        self.metric = metric
        self.binary = binary

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None) -> Tensor:
        """(N, C, *spatial) each to scores (N, C), float64."""
        if y is None:
            raise ValueError("the target is None; a metric compares the prediction with a target")
        arrays = [np.asarray(tensor.numpy(force=True)) for tensor in (y_pred, y)]
        preds, target = [array > 0.5 for array in arrays] if self.binary else arrays
        scores = [[self.metric(p, t) for p, t in zip(*pair, strict=True)] for pair in zip(preds, target, strict=True)]
        return torch.tensor(scores, dtype=torch.float64)

    def aggregate(self) -> Tensor:
        """Mean over images and channels, a scalar."""
        return self.get_buffer().mean()
