"""RankSRGAN's ranker."""

import pytest
import torch

from acuity.networks.ranker import Ranker


def test_parameter_count_is_the_published_one():
    with torch.device("meta"):
        count = sum(p.numel() for p in Ranker(in_channels=3).parameters())
    assert count / 1e6 == pytest.approx(13.73, abs=0.005)


@torch.inference_mode()
def test_one_score_an_image_of_any_size():
    ranker = Ranker(features=4).eval()
    for size in ((32, 32), (33, 70), (128, 64)):
        assert ranker(torch.rand(3, 1, *size)).shape == (3, 1)


@torch.inference_mode()
def test_an_image_s_score_does_not_depend_on_the_others():
    """As the arms of a Siamese network must be: each image of a pair alone."""
    torch.manual_seed(0)
    ranker, pair = Ranker(features=4).eval(), torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(ranker(pair), torch.cat([ranker(pair[:1]), ranker(pair[1:])]))


def test_it_learns_an_order():
    """Noise against smoothness, by the margin ranking loss."""
    torch.manual_seed(0)
    ranker = Ranker(features=4)
    optimizer = torch.optim.Adam(ranker.parameters(), lr=1e-2)
    loss_function = torch.nn.MarginRankingLoss(margin=0.5)
    for _ in range(15):
        smooth = torch.rand(8, 1, 1, 1).expand(-1, -1, 32, 32)
        noisy = smooth + 0.2 * torch.randn(8, 1, 32, 32)
        scores = ranker(torch.cat([noisy, smooth]))
        loss = loss_function(scores[:8], scores[8:], torch.ones(8, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
