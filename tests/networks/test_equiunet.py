"""EquiUnet."""

import pytest
import torch

from acuity.networks.equiunet import EquiUnet


@pytest.mark.parametrize(("width", "millions"), [(48, 23.152563), (32, 10.29), (16, 2.57)])
def test_parameter_count_is_the_published_one(width, millions):
    count = sum(p.numel() for p in EquiUnet(width=width).parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.006)
    if width == 48:
        assert count == millions


def test_width_must_suit_group_norm():
    with pytest.raises(ValueError, match="width is 20"):
        EquiUnet(width=20)


def test_deep_supervision_scores_every_level_in_training_alone():
    torch.manual_seed(0)
    network = EquiUnet(width=16, deep_supervision=True)
    image = torch.randn(1, 4, 16, 24, 16)
    outputs = network(image)
    assert [tuple(o.shape) for o in outputs] == [(1, 3, 16, 24, 16)] * 5
    torch.testing.assert_close(network.eval()(image), outputs[0])
    # Those of the coarse levels are as smooth as their upsampling: by 8, 8, 4 and 2.
    rough = [o.diff(dim=2).diff(dim=2).abs().mean().item() / o.std().item() for o in outputs]
    assert rough[0] > rough[4] > rough[3] > max(rough[1:3])


def test_deep_heads_add_their_own_parameters_alone():
    plain, deep = EquiUnet(width=16), EquiUnet(width=16, deep_supervision=True)
    heads = sum(3 * n + 3 for n in (128, 64, 32, 16))
    assert sum(p.numel() for p in deep.parameters()) - sum(p.numel() for p in plain.parameters()) == heads
    outputs = deep(torch.randn(1, 4, 16, 16, 16))
    for n, head in enumerate(deep.deep_heads, start=1):
        gradients = torch.autograd.grad(outputs[n].sum(), list(head.parameters()), retain_graph=True)
        assert all(gradient.abs().max() > 0 for gradient in gradients)
