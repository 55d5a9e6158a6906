"""Pairs for super-resolution."""

import numpy as np
import pytest
import torch

from acuity.research.datasets.slices import (
    MARGIN,
    Degradation,
    degrade,
    draw_degradation,
    draw_patches,
    interpolate_back,
)


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


@pytest.mark.parametrize("corner", [(20, 25, 15), (0, 0, 0), (39, 49, 29)])
def test_patches_show_the_tumor_where_it_is_given(corner):
    volume = np.full((40, 50, 30), 0.5, dtype=np.float16)
    tumor = np.zeros(volume.shape, dtype=bool)
    tumor[corner] = True
    volume[corner] = 1
    for seed in range(12):
        patches = draw_patches(volume, 3, 12, np.random.default_rng(seed), tumor)
        # half of the voxel's contrast is left where two slices are averaged
        assert (patches.amax(dim=(1, 2, 3)) >= 0.75).all()
        if corner == (20, 25, 15):
            inner = patches[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
            assert (inner.amax(dim=(1, 2, 3)) >= 0.75).all()


def test_a_case_without_a_tumor_gives_patches_from_anywhere():
    volume = np.random.default_rng(0).uniform(0.1, 1, (40, 50, 30)).astype(np.float16)
    none = np.zeros(volume.shape, dtype=bool)
    first, again = (draw_patches(volume, 6, 16, np.random.default_rng(3), tumor) for tumor in (None, none))
    torch.testing.assert_close(first, again)
