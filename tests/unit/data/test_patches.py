"""Random crops: where they lie, and that they repeat."""

import numpy as np
import pytest
import torch

from acuity.data.patches import Crop, PreparedCase, change_contrast, draw_centre, draw_matrix, perturb, soften, take


@pytest.fixture
def case():
    image = torch.zeros(4, 20, 24, 16, dtype=torch.float16)
    image[:, 2:18, 2:22, 2:14] = 1
    regions = torch.zeros(3, 20, 24, 16, dtype=torch.uint8)
    regions[:, 5:8, 10:14, 6:9] = 1
    return PreparedCase("phantom", image, regions)


def test_an_upright_crop_is_the_plain_slice():
    volume = torch.arange(20 * 24 * 16, dtype=torch.float32).reshape(1, 20, 24, 16)
    # Eight voxels about the face between voxels 9 and 10, 11 and 12, 7 and 8: [6:14], [8:16], [4:12].
    crop = take(volume, Crop(np.array([9.5, 11.5, 7.5]), np.eye(3)), (8, 8, 8))
    torch.testing.assert_close(crop, volume[:, 6:14, 8:16, 4:12], atol=1e-2, rtol=0)


def test_a_mirrored_crop_is_the_mirrored_slice():
    volume = torch.rand(1, 12, 12, 12)
    crop = take(volume, Crop(np.array([5.5] * 3), np.diag([-1.0, 1, 1])), (12, 12, 12))
    torch.testing.assert_close(crop, volume.flip(1), atol=1e-4, rtol=0)


def test_axes_are_not_mixed_up():
    """A zoom along the first axis alone halves a step there and leaves the others."""
    volume = torch.zeros(1, 16, 16, 16)
    volume[:, 8:] = 1
    ramp = torch.arange(16.0).expand(1, 16, 16, 16)
    matrix = np.diag([0.5, 1, 1])
    centre = np.array([7.5] * 3)
    assert (take(volume, Crop(centre, matrix), (16, 16, 16)) > 0.5).float().mean() == pytest.approx(0.5)
    torch.testing.assert_close(take(ramp, Crop(centre, matrix), (16, 16, 16)), ramp, atol=1e-3, rtol=0)


def test_draws_repeat_and_vary(case):
    first, again, other = (draw_matrix(np.random.default_rng([0, n])) for n in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert abs(np.linalg.det(first)) == pytest.approx(1, abs=0.5)


def test_tumour_centres_lie_about_the_tumour(case):
    rng = np.random.default_rng(0)
    centres = np.array([draw_centre(case, 1.0, rng) for _ in range(50)])
    assert np.abs(centres - np.array([6, 11.5, 7])).max() < 11
    nowhere = PreparedCase("healthy", case.image, torch.zeros_like(case.regions))
    assert np.isfinite(draw_centre(nowhere, 1.0, rng)).all()


def test_perturbing_leaves_the_background_and_drops_a_channel(case):
    image = case.image.float()
    result = perturb(image.clone(), np.random.default_rng(0), drop=1.0)
    assert (result[:, 0] == 0).all()
    assert sum(bool((channel == 0).all()) for channel in result) == 1


def test_softening_keeps_the_mean_and_loses_detail(case):
    image = torch.rand(4, 24, 24, 24, generator=torch.Generator().manual_seed(0))
    for seed in range(6):
        result = soften(image, np.random.default_rng(seed))
        assert result.shape == image.shape
        assert result.mean().item() == pytest.approx(image.mean().item(), abs=0.02)
        assert result.std() < 0.95 * image.std()


def test_contrast_changes_between_the_ends_alone():
    values = torch.linspace(-2, 3, 50)
    changed = change_contrast(values, 1.6)
    assert changed.mean().item() == pytest.approx(values.mean().item(), abs=1e-5)
    assert changed.std().item() == pytest.approx(values.std().item(), rel=1e-5)
    assert (changed.diff() > 0).all()  # order is kept
    assert changed.diff()[0] < 0.2 * changed.diff()[-1]  # dark greys move together
    torch.testing.assert_close(change_contrast(values, 1.0), values, atol=1e-5, rtol=0)
    constant = torch.full((9,), 0.7)
    assert change_contrast(constant, 2.0) is constant


def test_perturbing_leaves_its_input_as_it_was(case):
    image = case.image.float()
    before = image.clone()
    for seed in range(5):
        perturb(image, np.random.default_rng(seed))
    torch.testing.assert_close(image, before)
