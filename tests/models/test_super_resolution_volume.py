"""Networks for volumes: in parts as in one piece, and no further than the region."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from acuity.models import super_resolution_volume
from acuity.models.super_resolution import super_resolve
from acuity.models.super_resolution_volume import run_volume
from acuity.networks.volume_srresnet import VolumeSRResNet
from acuity.volume import Volume


@pytest.fixture
def network() -> VolumeSRResNet:
    torch.manual_seed(0)
    network = VolumeSRResNet(features=8, blocks=4).eval().requires_grad_(False)
    torch.nn.init.normal_(network.tail.weight, std=0.05)
    return network


@pytest.mark.parametrize("part", [16, 23, 40])
def test_parts_give_what_one_piece_gives(network: VolumeSRResNet, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = torch.from_numpy(gaussian_filter(np.random.default_rng(0).random((61, 50, 45)), 1).astype(np.float32))
    region, ratios = tuple(slice(3, n - 2) for n in volume.shape), (2.0, 2.0, 5.0)
    told: list[float] = []
    whole = run_volume(volume, ratios, region, network, lambda _: None)
    monkeypatch.setattr(super_resolution_volume, "PART", part)
    parts = run_volume(volume, ratios, region, network, told.append)
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=0)
    assert told == sorted(told) and told[-1] == 1 and len(told) > 1
    outside = torch.ones(volume.shape, dtype=torch.bool)
    outside[region] = False
    torch.testing.assert_close(whole[outside], volume[outside])
    assert (whole - volume).abs().max() > 0.01


@pytest.mark.parametrize(
    ("spacing", "wanted", "shape"),
    [
        ((2.0, 2.0, 2.0), (1.0, 1.0, 1.0), (40, 36, 32)),
        ((1.0, 1.0, 5.0), (1.0, 1.0, 1.0), (20, 18, 80)),
        ((2.5, 1.5, 3.0), (1.0, 1.0, 1.0), (50, 27, 48)),
    ],
)
def test_any_grid_is_reached_in_one_pass(
    spacing: tuple[float, ...], wanted: tuple[float, float, float], shape: tuple[int, ...]
) -> None:
    """A network that adds nothing, as it is before training, interpolates; the axes may have any ratio."""
    measured = tuple(round(n / s) for n, s in zip(shape, spacing, strict=True))
    array = (gaussian_filter(np.random.default_rng(0).random(measured), 1) + 0.2).astype(np.float32)
    told: list[float] = []
    network = VolumeSRResNet(features=8, blocks=1).eval().requires_grad_(False)
    result = super_resolve(Volume(array, np.diag([*spacing, 1.0])), network, spacing=wanted, progress=told.append)
    assert result.volume.shape == shape
    assert np.isfinite(result.volume.array).all()
    assert result.volume.array.mean() == pytest.approx(array.mean(), rel=0.02)
    assert told[-1] == 1
