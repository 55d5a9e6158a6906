"""Networks of any scale in volumes: with networks that only interpolate, everything must lie where it lay in mm.

The judges are a function of the millimeters that only the affines lead to, and SimpleITK.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from acuity.imaging.forward_model import resize_cubic
from acuity.models import super_resolution, super_resolution_slices
from acuity.models.super_resolution import Consistent, super_resolve
from acuity.models.super_resolution_slices import BATCH_PIXELS, CONTEXT, RIM, run_slices
from acuity.networks.initialization import start_as_interpolation
from acuity.networks.rrdbnet import RRDBNet
from acuity.networks.srresnet import SRResNet
from acuity.volume import Volume


class Identity(nn.Module):
    """A network of scale 1 that leaves cubic interpolation as it is."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, image):
        return image


def interpolating(scale, cls=RRDBNet):
    torch.manual_seed(0)
    network = Identity() if scale == 1 else cls(features=4, blocks=1, scale=scale)
    start_as_interpolation(network)
    return network.eval().requires_grad_(False)


def grid_affine(spacing, shape):
    """Oblique, left-handed and off the middle: the axes run to the back, the right and up, turned by 37 degrees."""
    direction = np.array([[0.0, -0.8, 0.6], [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]])
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = np.array([5.0, -8.0, 3.0]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def slope(affine, shape):
    """A linear function of the millimeters, unlike along the three axes: interpolation of any kind keeps it."""
    x, y, z = np.einsum("ab,bijk->aijk", affine[:3, :3], np.indices(shape)) + affine[:3, 3, None, None, None]
    return 1000 + 7.0 * x - 3.0 * y + 4.0 * z


# Measured shape and spacing, and the spacing that is reached: in plane, isotropic, broken ratios, thick slices.
GRIDS = [
    ((16, 14, 12), (4.0, 4.0, 3.0), (1.0, 1.0, 3.0)),
    ((12, 16, 14), (3.0, 4.0, 4.0), (3.0, 1.0, 1.0)),
    ((20, 18, 12), (2.0, 2.0, 3.0), (1.0, 1.0, 3.0)),
    ((20, 18, 17), (2.0, 2.0, 2.0), (1.0, 1.0, 1.0)),
    ((14, 12, 13), (4.0, 4.0, 4.0), (1.0, 1.0, 1.0)),
    ((17, 20, 13), (2.3, 1.7, 3.1), (1.0, 1.2, 0.9)),
    ((14, 14, 14), (3.0, 3.0, 3.0), (0.5, 1.0, 3.0)),
    *[
        (tuple(np.roll((12, 24, 24), axis)), tuple(np.roll((mm, 1.5, 1.5), axis)), (1.0, 1.0, 1.0))
        for mm in (3.0, 5.0, 6.0)
        for axis in range(3)
    ],
]


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize(("shape", "spacing", "wanted"), GRIDS)
def test_all_stays_where_it_is_in_millimeters(shape, spacing, wanted, scale, monkeypatch):
    """As the network leaves it: consistency would move a part of what is in a wrong place back."""
    left_alone = partial(Consistent, residual=0.0, residual_after=0.0, blurs=(None, None, None), share=1.0)
    monkeypatch.setattr(super_resolution, "make_consistent", lambda result, *_: left_alone(result))
    affine = grid_affine(spacing, shape)
    volume = Volume(slope(affine, shape).astype(np.float32), affine)
    result = super_resolve(volume, interpolating(scale), spacing=wanted).volume
    assert result.grid.same_as(volume.grid.with_spacing(wanted))
    inner = tuple(slice(n // 5, -(n // 5)) for n in result.shape)  # at the border the image is repeated
    difference = (result.array - slope(result.affine, result.shape))[inner]
    # Half a voxel is 0.75 or more. Antialiased shrinking by broken ratios keeps slopes to about 0.1 only.
    assert np.abs(difference).max() < 0.2


@pytest.mark.parametrize("cls", [RRDBNet, SRResNet])
def test_simpleitk_interpolates_to_the_same(cls):
    """Linear interpolation of 4 mm to 2 mm in plane is what the network does, before what was measured is enforced."""
    shape, spacing = (16, 14, 4), (4.0, 4.0, 3.0)
    affine = grid_affine(spacing, shape)
    rng = np.random.default_rng(0)
    volume = Volume(gaussian_filter(rng.random(shape), (1.5, 1.5, 0.3)).astype(np.float32), affine)
    size, ratios = (32, 28, 4), (0.5, 0.5, 1.0)
    network = interpolating(2, cls)
    everything = (slice(0, 16), slice(0, 14), slice(0, 4))
    found = run_slices(torch.from_numpy(volume.array), 2, size, ratios, network, everything, lambda _: None)
    target = volume.on_grid(found.numpy(), volume.grid.with_spacing((2.0, 2.0, 3.0)))
    judge = sitk.Resample(volume.to_sitk(), target.to_sitk(), sitk.Transform(), sitk.sitkLinear)
    expected = sitk.GetArrayFromImage(judge).transpose(2, 1, 0)
    inner = (slice(2, -2), slice(2, -2), slice(None))  # SimpleITK gives 0 outside the outermost centers
    np.testing.assert_allclose(target.array[inner], expected[inner], atol=1e-5)


@pytest.mark.parametrize("cls", [RRDBNet, SRResNet])
def test_a_network_that_pads_with_zeros_does_not_darken_the_border(cls):
    volume = Volume(np.full((12, 10, 9), 100, np.float32), np.diag([4.0, 4.0, 4.0, 1.0]))
    result = super_resolve(volume, interpolating(4, cls), spacing=(1.0, 1.0, 1.0))
    assert result.residual < 1e-3
    np.testing.assert_allclose(result.volume.array, 100, rtol=1e-3)


def test_the_network_sees_coarse_slices_and_only_the_foregrounds_box():
    array = np.zeros((60, 50, 6), np.float32)
    array[25:31, 20:24] = 100
    seen = []
    network = interpolating(4)
    network.register_forward_hook(lambda m, i, o: seen.append(i[0].shape))
    super_resolve(Volume(array, np.diag([4.0, 4, 1, 1])), network)
    assert {shape[-2:] for shape in seen} == {(6 + 2 * (CONTEXT + RIM), 4 + 2 * (CONTEXT + RIM))}
    assert sum(shape[0] for shape in seen) == 6


def test_batches_hold_as_many_enlarged_pixels_as_they_may_and_change_nothing(monkeypatch):
    volume = torch.from_numpy(np.random.default_rng(0).uniform(0.2, 1, (20, 10, 8)).astype(np.float32))
    network, seen = interpolating(4), []
    told: list[float] = []
    network.register_forward_hook(lambda m, i, o: seen.append(len(o)))
    everything = (slice(0, 20), slice(0, 10), slice(0, 8))

    def run():
        seen.clear()
        return run_slices(volume, 0, (20, 20, 16), (1.0, 0.5, 0.5), network, everything, told.append)

    whole = run()
    assert seen == [20] and BATCH_PIXELS > 20 * 16 * 80
    monkeypatch.setattr(super_resolution_slices, "BATCH_PIXELS", 3 * 16 * 80 + 1)
    parts = run()
    assert seen == [3] * 6 + [2]
    assert told[-1] == 1
    torch.testing.assert_close(parts, whole)


def test_slices_without_foreground_and_beyond_the_region_are_interpolated():
    volume = torch.zeros(6, 16, 12)
    volume[1:5] = torch.from_numpy(np.random.default_rng(0).uniform(0.2, 1, (4, 16, 12)).astype(np.float32))
    seen = []
    network = interpolating(2)
    network.register_forward_hook(lambda m, i, o: seen.append(len(o)))
    region = (slice(0, 3), slice(0, 16), slice(0, 12))
    result = run_slices(volume, 0, (6, 32, 24), (1.0, 0.5, 0.5), network, region, lambda _: None)
    assert sum(seen) == 3
    assert (result[0] == 0).all() and (result[5] == 0).all()
    # Cubic and linear interpolation differ where there is detail.
    cubic = resize_cubic(volume, (6, 32, 24), (1.0, 0.5, 0.5)).clamp_min(0)
    torch.testing.assert_close(result[3:], cubic[3:])
    assert (result[1:3] - cubic[1:3]).abs().max() > 0.01
