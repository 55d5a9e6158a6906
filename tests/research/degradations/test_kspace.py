"""What missing k-space does, against what Fourier's theory says."""

import math

import numpy as np
import pytest
import torch
from skimage import data

from acuity.research.degradations.kspace import gibbs_ringing, partial_fourier, truncate_kspace


def wave(positions, cycles, length, amplitude=0.3):
    return 0.5 + amplitude * np.cos(2 * np.pi * cycles * (np.asarray(positions) + 0.5) / length)


def rows(values, width=8):
    return torch.from_numpy(np.repeat(np.asarray(values, np.float32)[:, None], width, axis=1))[None, None]


@pytest.mark.parametrize(("length", "size"), [(64, 16), (64, 32), (60, 15), (63, 21)])
def test_truncation_keeps_a_wave_below_the_cut_and_removes_one_above(length, size):
    """The kept wave is sampled in the middles of the larger pixels."""
    ratio = length / size
    centers = (np.arange(size) + 0.5) * ratio - 0.5
    for cycles, amplitude in ((size // 2 - 1, 0.3), (size // 2 + 1, 0.0), (length // 2 - 1, 0.0)):
        low = truncate_kspace(rows(wave(np.arange(length), cycles, length)), (size, 4))
        assert low.shape == (1, 1, size, 4)
        np.testing.assert_allclose(low[0, 0, :, 1], wave(centers, cycles, length, amplitude), atol=1e-5)


def test_truncation_of_a_symmetric_object_stays_symmetric():
    """The transform's own grid would shift a x4 image by 1.5 of the old pixels."""
    image = torch.zeros(1, 1, 64, 64)
    image[..., 22:42, 27:37] = 1.0
    low = truncate_kspace(image, (16, 16))
    # The one frequency without its counterpart, -size / 2, is all that may break the symmetry.
    assert (low - low.flip(-1)).abs().max() < 0.02
    assert (low - low.flip(-2)).abs().max() < 0.02


def test_truncation_to_the_same_size_changes_nothing():
    image = torch.rand(2, 1, 15, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(truncate_kspace(image, (15, 16)), image, atol=1e-6, rtol=0)


def test_ringing_overshoots_an_edge_by_wilbrahams_nine_percent():
    """The overshoot of a truncated Fourier series is 0.0895 of the jump, however many terms there are."""
    edge = torch.full((1, 1, 512, 4), 0.5)
    edge[..., 128:384, :] = 1.5
    for fraction in (0.1, 0.2):
        overshoot = gibbs_ringing(edge, (fraction, 1.0)).max().item() - 1.5
        assert overshoot == pytest.approx(0.0895, abs=0.005)


def test_ringing_keeps_waves_below_and_removes_those_above_by_axis():
    low, high = (rows(wave(np.arange(64), cycles, 64), width=64) for cycles in (12, 20))
    torch.testing.assert_close(gibbs_ringing(low, (0.5, 0.5)), low, atol=1e-5, rtol=0)
    torch.testing.assert_close(gibbs_ringing(high, (0.5, 0.5)), torch.full_like(high, 0.5), atol=1e-5, rtol=0)
    torch.testing.assert_close(gibbs_ringing(high, (1.0, 0.5)), high, atol=1e-5, rtol=0)


@pytest.mark.parametrize("axis", [-2, -1])
def test_partial_fourier_keeps_what_has_both_halves(axis):
    image = rows(wave(np.arange(64), 7, 64), width=64)
    image = image if axis == -2 else image.mT
    torch.testing.assert_close(partial_fourier(image, 5 / 8, axis), image, atol=1e-5, rtol=0)


def test_partial_fourier_halves_what_has_lost_one():
    """A + B cos(kx) becomes |A + B / 2 exp(-ikx)|; 5/8 of 64 lines end before frequency 8."""
    phase = 2 * np.pi * 20 * (np.arange(64) + 0.5) / 64
    found = partial_fourier(rows(wave(np.arange(64), 20, 64)), 5 / 8)[0, 0, :, 0]
    np.testing.assert_allclose(found, np.abs(0.5 + 0.15 * np.exp(-1j * phase)), atol=1e-5)


def test_a_whole_k_space_changes_nothing_and_less_of_it_changes_more():
    image = torch.from_numpy(data.camera()[::8, ::8] / 255.0).float()[None, None]
    errors = [(partial_fourier(image, f) - image).square().mean().item() for f in (1.0, 7 / 8, 6 / 8, 5 / 8)]
    assert errors[0] < 1e-12
    assert errors == sorted(errors)


def test_no_mean_is_lost_even_on_few_lines():
    flat = torch.full((1, 1, 5, 8), 0.7)
    torch.testing.assert_close(partial_fourier(flat, 0.51), flat)
    torch.testing.assert_close(gibbs_ringing(flat, (0.01, 0.01)), flat)


def test_impossible_parts_are_refused():
    flat = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match="9 of 8 lines are to be kept; 1 to 8 can be"):
        truncate_kspace(flat, (9, 8))
    with pytest.raises(ValueError, match="fraction is 0.5; more than half"):
        partial_fourier(flat, 0.5)
    with pytest.raises(ValueError, match="fraction is 0; a part of k-space is above 0"):
        gibbs_ringing(flat, (0, 1.0))


def test_gradients_pass_through_truncation():
    image = torch.rand(1, 1, 16, 16).requires_grad_(True)
    truncate_kspace(image, (4, 4)).sum().backward()
    assert image.grad is not None and math.isfinite(image.grad.sum().item()) and image.grad.abs().sum() > 0
