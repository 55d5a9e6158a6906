"""What discriminators and the ranker promise beside their sizes."""

from __future__ import annotations

import pytest
import torch

from acuity.networks.discriminators import UNetDiscriminator
from acuity.networks.ranker import Ranker


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@torch.inference_mode()
def test_the_u_net_s_inner_convolutions_have_spectral_norm_1() -> None:
    """By singular values, which the layer itself only approximates by power iteration."""
    network = UNetDiscriminator(features=4)
    for _ in range(30):
        network(torch.rand(1, 1, 8, 8))
    inner = [*network.down, *network.up, *network.convs_hr]
    assert len(inner) == 8
    for conv in inner:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), ord=2).item() == pytest.approx(1, abs=0.02)
    for conv in (network.conv_first, network.conv_last):
        assert not torch.nn.utils.parametrize.is_parametrized(conv)


@torch.inference_mode()
def test_the_u_net_s_logits_are_local() -> None:
    """A change in a corner is seen there most, and through the coarse levels only weakly on the other side."""
    network, image = UNetDiscriminator(features=8).eval(), torch.rand(1, 1, 64, 64)
    changed = image.clone()
    changed[..., :4, :4] = 1 - changed[..., :4, :4]
    difference = (network(changed) - network(image)).abs()
    assert difference[..., :4, :4].mean() > 100 * difference[..., -16:, -16:].mean()


@torch.inference_mode()
def test_a_ranked_image_s_score_does_not_depend_on_the_others() -> None:
    """As the arms of a Siamese network must be: each image of a pair alone."""
    ranker, pair = Ranker(features=4).eval(), torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(ranker(pair), torch.cat([ranker(pair[:1]), ranker(pair[1:])]))


def test_the_ranker_learns_an_order() -> None:
    """Noise against smoothness, by the margin ranking loss."""
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
