"""RankSRGAN's losses, for its ranker and for a generator that the ranker judges.

Zhang, Liu, Dong, Qiao, "RankSRGAN: Generative Adversarial Networks with Ranker for Image Super-Resolution",
ICCV 2019 (arXiv:1908.06382). A ranker's score is higher where the image is worse, as NIQE's is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MARGIN = 0.5
SCORE_LIMIT = 5.0


def margin_ranking_loss(worse_scores: Tensor, better_scores: Tensor, margin: float = MARGIN) -> Tensor:
    """Mean of max(0, margin - (worse - better)): the worse image of each pair should score ``margin`` higher.

    Parameters
    ----------
    worse_scores, better_scores : (N, 1), by one ranker; clamped to +-``SCORE_LIMIT``, so that scores stay bounded
    """
    worse, better = (scores.clamp(-SCORE_LIMIT, SCORE_LIMIT) for scores in (worse_scores, better_scores))
    return F.margin_ranking_loss(worse, better, torch.ones_like(worse), margin=margin)


def rank_content_loss(scores: Tensor) -> Tensor:
    """Sum over the batch of sigmoid(R(SR)), 0 to N: small if the ranker finds the images good.

    Parameters
    ----------
    scores : (N, 1), the ranker's scores of the super-resolved images
    """
    return torch.sigmoid(scores).sum()
