"""The network for whole volumes: it starts as interpolation, loses no voxel, and sees as far as it says."""

from __future__ import annotations

import torch

from acuity.networks.volume_srresnet import VolumeSRResNet, shuffled, unshuffled


def test_shuffling_keeps_every_voxel_in_its_place() -> None:
    volume = torch.arange(2 * 3 * 4 * 6 * 8.0).reshape(2, 3, 4, 6, 8)
    parts = unshuffled(volume)
    assert parts.shape == (2, 24, 2, 3, 4)
    torch.testing.assert_close(parts[1, 8:16, 1, 2, 3].reshape(2, 2, 2), volume[1, 1, 2:4, 4:6, 6:8])
    torch.testing.assert_close(shuffled(parts), volume)


def test_it_starts_as_interpolation_and_learns_from_all_channels() -> None:
    torch.manual_seed(0)
    network = VolumeSRResNet(features=8, blocks=2)
    image = torch.rand(2, 4, 12, 10, 8)
    torch.testing.assert_close(network(image), image[:, :1])
    torch.nn.init.normal_(network.tail.weight)
    changed = image.clone()
    changed[:, 2] += 1
    assert (network(changed) - network(image)).abs().max() > 1e-3
    network(image).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
