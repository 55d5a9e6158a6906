"""Pairs for super-resolution."""

import numpy as np
import pytest
import torch

from acuity.anatomy import Sequence
from acuity.research.datasets.slice_sets import read_slices
from acuity.research.datasets.volume_patches import (
    MARGIN,
    Degradation,
    degrade,
    draw_degradation,
    draw_patches,
    interpolate_back,
    read_volumes,
)
from tests.research.datasets.test_slice_sets import add_case


@pytest.mark.parametrize("kernel", ["cubic", "box", "decimate"])
def test_degrading_halves_and_interpolation_goes_back(kernel):
    image = torch.full((2, 1, 40, 32), 0.4)
    low = degrade(image, Degradation((2.0, 2.0), kernel))
    assert low.shape == (2, 1, 20, 16)
    torch.testing.assert_close(interpolate_back(low, (40, 32)), image)


def test_more_blur_never_helps():
    image = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    errors = [
        (interpolate_back(degrade(image, Degradation((f, 1.0), "cubic")), (48, 48)) - image).square().mean().item()
        for f in (2.0, 3.0, 6.0)
    ]
    assert errors == sorted(errors)


def test_draws_cover_in_plane_and_thick_slices():
    rng = np.random.default_rng(0)
    factors = [draw_degradation(rng).factors for _ in range(200)]
    assert {f for f in factors if f[0] == f[1]} == {(2.0, 2.0)}
    assert {tuple(sorted(f)) for f in factors} > {(1.0, 2.0), (2.0, 2.0)}
    assert max(max(f) for f in factors) > 5


def test_patches_come_from_the_brain_and_repeat():
    volume = np.zeros((40, 50, 30), dtype=np.float16)
    volume[5:35, 5:45, 3:27] = 0.5
    first, again = (draw_patches(volume, 6, 16, np.random.default_rng(3)) for _ in range(2))
    assert first.shape == (6, 1, 16 + 2 * MARGIN, 16 + 2 * MARGIN)
    torch.testing.assert_close(first, again)
    assert ((first > 0).float().mean(dim=(1, 2, 3)) > 0.25).sum() >= 5


def test_volumes_are_cut_to_the_brain_and_scaled_as_slices_are(tmp_path):
    for name in ("CASE_1", "CASE_2"):
        add_case(tmp_path, name)
    volumes = read_volumes(tmp_path, ["CASE_2", "CASE_1"])
    assert len(volumes) == 2 * 4 and {volume.dtype for volume in volumes} == {np.dtype(np.float16)}
    slices = [item for item in read_slices(tmp_path) if item.case == "CASE_1"]
    for volume, sequence in zip(volumes[4:], Sequence, strict=True):
        middle = next(item for item in slices if item.sequence == sequence and item.index == 9)
        found = volume[..., [k for k in range(volume.shape[2]) if (volume[..., k] > 0).any()][5]].T
        rows, columns = ((n - m) // 2 for n, m in zip(found.shape, middle.image.shape, strict=True))
        height, width = middle.image.shape
        found = found[rows : rows + height, columns : columns + width]
        np.testing.assert_allclose(found, middle.image, atol=1e-3)
