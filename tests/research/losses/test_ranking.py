"""RankSRGAN's losses."""

import pytest
import torch

from acuity.research.losses.ranking import margin_ranking_loss, rank_content_loss


def test_the_ranker_is_right_once_the_worse_image_scores_higher_by_the_margin():
    better = torch.zeros(3, 1)
    assert margin_ranking_loss(better + 0.5, better) == 0
    assert margin_ranking_loss(better, better) == pytest.approx(0.5)
    assert margin_ranking_loss(better, better + 2) == pytest.approx(2.5)


def test_scores_beyond_the_limit_count_as_the_limit():
    """Two images that are both beyond it cannot be told apart any more."""
    assert margin_ranking_loss(torch.full((1, 1), 90.0), torch.full((1, 1), 6.0)) == pytest.approx(0.5)
    assert margin_ranking_loss(torch.full((1, 1), -90.0), torch.full((1, 1), 90.0)) == pytest.approx(10.5)


def test_rank_content_is_summed_over_the_batch():
    assert rank_content_loss(torch.zeros(6, 1)) == pytest.approx(3.0)
    assert rank_content_loss(torch.full((1, 1), 2.0)) == pytest.approx(0.880797, abs=1e-6)


def test_the_generator_wants_a_lower_score():
    scores = torch.zeros(2, 1, requires_grad=True)
    rank_content_loss(scores).backward()
    assert scores.grad is not None and (scores.grad > 0).all()
