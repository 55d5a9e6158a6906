"""2D networks on volumes."""

import pytest
import torch

from acuity.networks.slicewise import AT_ONCE, Slices, sees_several_planes
from acuity.networks.unet2d import UNet2d


@torch.inference_mode()
@pytest.mark.parametrize(("plane", "axis"), [("axial", 4), ("coronal", 3), ("sagittal", 2)])
def test_each_slice_of_the_plane_is_seen_for_itself(plane, axis):
    torch.manual_seed(0)
    network = UNet2d(width=4).eval()
    sizes = [32, 64]
    sizes.insert(axis - 2, AT_ONCE - 3)  # more slices in both volumes together than are in memory at once
    volume = torch.randn(2, 4, *sizes)
    logits = Slices(network, plane)(volume)
    assert logits.shape == (2, 3, *sizes)
    for n, at in ((0, 0), (0, 5), (1, AT_ONCE - 4)):
        expected = network(volume[n : n + 1].select(axis, at))[0]
        torch.testing.assert_close(logits[n].select(axis - 1, at), expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize(("plane", "padded"), [("axial", (32, 64)), ("coronal", (32, 32)), ("sagittal", (64, 32))])
def test_any_size_is_taken_and_padded_at_the_far_end(plane, padded):
    sizes = []

    class First(torch.nn.Module):
        def forward(self, image):
            sizes.append(tuple(image.shape[2:]))
            return image[:, 1:]

    volume = torch.randn(1, 4, 19, 33, 7)
    torch.testing.assert_close(Slices(First(), plane)(volume), volume[:, 1:])
    assert set(sizes) == {padded}


@pytest.mark.parametrize("planes", ["oblique", ["axial", "oblique"], []])
def test_another_plane_is_refused(planes):
    with pytest.raises(ValueError, match="axial, coronal, sagittal"):
        Slices(torch.nn.Identity(), planes)


@torch.inference_mode()
def test_of_several_planes_the_mean_counts_and_in_training_the_first_alone():
    torch.manual_seed(0)
    network = torch.nn.Conv2d(2, 3, 3, padding=1)
    volume = torch.randn(1, 2, 32, 32, 32)
    each = [Slices(network, plane).eval()(volume) for plane in ("axial", "coronal", "sagittal")]
    assert not torch.allclose(each[0], each[1], atol=0.1)
    several = Slices(network, ["axial", "coronal", "sagittal"])
    torch.testing.assert_close(several.eval()(volume), sum(each) / 3)
    torch.testing.assert_close(several.train()(volume), each[0])


def test_only_networks_of_several_planes_see_them():
    networks = [Slices(torch.nn.Identity()), Slices(torch.nn.Identity(), ["axial", "coronal"])]
    assert [sees_several_planes(network) for network in networks] == [False, True]
    assert sees_several_planes(torch.nn.Sequential(*networks))


@torch.inference_mode()
@pytest.mark.parametrize(("plane", "axis"), [("axial", 4), ("coronal", 3), ("sagittal", 2)])
def test_neighbors_come_as_channels_and_are_0_beyond_the_volume(plane, axis):
    volume = torch.randn(1, 2, 5, 6, 7)
    seen = Slices(torch.nn.Identity(), plane, neighbors=1).eval()(volume)
    own, below, above = seen[:, 2:4], seen[:, :2], seen[:, 4:]
    last = volume.shape[axis] - 1
    torch.testing.assert_close(own, volume)
    torch.testing.assert_close(below.narrow(axis, 1, last), volume.narrow(axis, 0, last))
    torch.testing.assert_close(above.narrow(axis, 0, last), volume.narrow(axis, 1, last))
    assert not below.select(axis, 0).any()
    assert not above.select(axis, last).any()


def test_in_training_the_outermost_slices_are_neighbors_alone():
    volume = torch.randn(2, 1, 4, 4, 7)
    seen = Slices(torch.nn.Identity(), neighbors=2).train()(volume)
    assert seen.shape == (2, 5, 4, 4, 3)
    torch.testing.assert_close(seen[:, 2:3], volume[..., 2:5])
