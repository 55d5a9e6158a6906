"""The coarse-to-fine pair of any networks, and ensembles of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.networks.nets import SegResNet
from torch import nn
from torch.nn import functional as F

from acuity.networks.cascade import CoarseToFine, Ensemble, part_state
from acuity.networks.equiunet import EquiUnet
from acuity.networks.slicewise import Plane, Slices


def segresnet() -> nn.Module:
    return SegResNet(in_channels=4, out_channels=3, init_filters=8)


def equiunet() -> nn.Module:
    return EquiUnet(width=16)


@pytest.mark.parametrize(("coarse", "fine"), [(equiunet, segresnet), (segresnet, equiunet)])
@torch.inference_mode()
def test_any_two_networks_take_any_size_and_give_it_back(
    coarse: Callable[[], nn.Module], fine: Callable[[], nn.Module]
) -> None:
    network = CoarseToFine(coarse(), fine()).eval()
    assert network(torch.randn(1, 4, 19, 33, 24)).shape == (1, 3, 19, 33, 24)


@torch.inference_mode()
def test_the_coarse_stage_adds_its_share_and_takes_nothing_away() -> None:
    torch.manual_seed(0)
    network = CoarseToFine(equiunet(), segresnet(), fine_weight=0.7).eval()
    image = torch.randn(1, 4, 16, 32, 16)
    fine, coarse = network.fine_logits(image), network.coarse_logits(image)
    expected = torch.where(coarse > fine, 0.7 * fine + 0.3 * coarse, fine)
    assert 0.1 < (coarse > fine).float().mean() < 0.9
    torch.testing.assert_close(network(image), expected)


@torch.inference_mode()
def test_the_coarse_network_sees_means_of_eight_voxels_and_the_fine_one_all() -> None:
    image = torch.randn(1, 3, 64, 32, 32)
    network = CoarseToFine(nn.Identity(), nn.Identity())
    torch.testing.assert_close(network.fine_logits(image), image)
    # Means of 2x2x2 voxels survive being upsampled and averaged once more only where the image is that smooth.
    smooth = torch.ones_like(image) * torch.tensor([1.0, -2, 3]).reshape(1, 3, 1, 1, 1)
    torch.testing.assert_close(network.coarse_logits(smooth), smooth)
    halved = F.interpolate(image, scale_factor=0.5, mode="trilinear", align_corners=False)
    expected = F.interpolate(halved, scale_factor=2, mode="trilinear", align_corners=False)
    torch.testing.assert_close(network.coarse_logits(image), expected)


def test_a_pair_keeps_the_names_of_the_released_weights() -> None:
    names = set(CoarseToFine(equiunet(), equiunet()).state_dict())
    own = set(equiunet().state_dict())
    assert names == {f"{stage}.{name}" for stage in ("coarse", "fine") for name in own}


@torch.inference_mode()
def test_an_ensemble_is_the_mean_of_its_members() -> None:
    torch.manual_seed(0)
    members = [equiunet().eval(), segresnet().eval(), equiunet().eval()]
    image = torch.randn(1, 4, 16, 16, 16)
    expected = torch.stack([member(image) for member in members]).mean(dim=0)
    torch.testing.assert_close(Ensemble(members)(image), expected)


def test_an_ensemble_of_copies_has_the_names_of_one_of_single_members() -> None:
    """Each copy takes weights of its own, and is told from the others by them."""
    members = [equiunet() for _ in range(3)]
    state = Ensemble(members).state_dict()
    copies = Ensemble(equiunet(), members=3)
    assert set(copies.state_dict()) == set(state)
    copies.load_state_dict(state)
    assert all(torch.equal(state[name], value) for name, value in copies.state_dict().items())
    first, second = (copies.networks[n].get_parameter("head.weight") for n in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("part", ["coarse", "fine"])
def test_a_part_is_taken_out_of_a_pair_or_as_it_is_without_deep_supervision(part: str) -> None:
    pair = CoarseToFine(EquiUnet(width=16, deep_supervision=True), EquiUnet(width=16, deep_supervision=True))
    trained = pair.get_submodule(part).state_dict()
    expected = {name: value for name, value in trained.items() if not name.startswith("deep_heads.")}
    assert len(expected) < len(trained)
    for state in (pair.state_dict(), trained):
        found = part_state(state, part)
        assert set(found) == set(expected)
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_member_is_taken_out_of_its_ensemble_or_of_a_pair_whose_stage_it_is() -> None:
    members = [equiunet(), equiunet()]
    whole = CoarseToFine(equiunet(), Ensemble(members)).state_dict()
    trained = CoarseToFine(equiunet(), members[1]).state_dict()
    for state in (whole, trained):
        found = part_state(state, "fine.networks.1")
        expected = members[1].state_dict()
        assert set(found) == set(expected)
        assert all(torch.equal(found[name], value) for name, value in expected.items())


class Number(nn.Module):
    """Gives its number wherever it looks."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.full_like(image[:, :3], self.number)


@pytest.mark.parametrize(("plane", "axis"), [("axial", 4), ("coronal", 3), ("sagittal", 2)])
@pytest.mark.parametrize("slices", [2, 10])
def test_in_a_quick_look_each_slice_is_seen_by_one_member(plane: Plane, axis: int, slices: int) -> None:
    fine = Ensemble([Slices(Number(n), [plane, "axial"], neighbors=1) for n in range(4)])
    sizes = [6, 7, 8]
    sizes[axis - 2] = slices
    found = CoarseToFine(equiunet(), fine).eval().search_logits(torch.zeros(1, 4, *sizes))
    assert found is not None and found.shape == (1, 3, *sizes)
    expected = torch.arange(slices) % 4
    assert (found.movedim(axis, -1) == expected).all()


def test_networks_of_whole_volumes_have_no_quick_look() -> None:
    assert CoarseToFine(equiunet(), equiunet()).search_logits(torch.zeros(1, 4, 16, 16, 16)) is None
