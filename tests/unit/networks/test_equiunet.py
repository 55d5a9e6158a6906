"""EquiUnet and the coarse-to-fine pair."""

import pytest
import torch

from acuity.networks.equiunet import CoarseToFine, EquiUnet


@pytest.mark.parametrize(("width", "millions"), [(48, 23.152563), (32, 10.29), (16, 2.57)])
def test_parameter_count_is_the_published_one(width, millions):
    count = sum(p.numel() for p in EquiUnet(width=width).parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.006)
    if width == 48:
        assert count == millions


def test_width_must_suit_group_norm():
    with pytest.raises(ValueError, match="width is 20"):
        EquiUnet(width=20)


@torch.inference_mode()
def test_any_size_is_taken_and_given_back():
    logits = CoarseToFine(width=16).eval()(torch.zeros(1, 4, 19, 33, 24))
    assert logits.shape == (1, 3, 19, 33, 24)


@torch.inference_mode()
def test_the_two_stages_are_weighted():
    torch.manual_seed(0)
    network = CoarseToFine(width=16, fine_weight=0.7).eval()
    image = torch.randn(1, 4, 16, 32, 16)
    expected = 0.7 * network.fine_logits(image) + 0.3 * network.coarse_logits(image)
    torch.testing.assert_close(network(image), expected)
