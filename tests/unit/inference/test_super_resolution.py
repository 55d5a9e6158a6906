"""Super-resolving volumes: geometry, consistency, and leaving alone what needs nothing."""

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass, gaussian_filter

from acuity.degradations.functional import downsample_cubic
from acuity.errors import PreparationError
from acuity.inference.bundle import Bundle
from acuity.inference.super_resolution import make_consistent, super_resolve
from acuity.volume import Volume

OBLIQUE = np.array([[0.0, -1.6, 1.2, 10.0], [2.0, 0, 0, -20.0], [0, 1.2, 1.6, 30.0], [0, 0, 0, 1]])


class Brighten(torch.nn.Module):
    """A generator whose effect is easy to see."""

    def __init__(self, gain):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, image):
        return image * self.gain


def bundle(gain=1.0):
    return Bundle("test", "0", Brighten(gain).eval().requires_grad_(False), "", {})


def blob(shape, centre, affine, width=2.0):
    array = np.zeros(shape, dtype=np.float32)
    array[centre] = 1000
    return Volume(gaussian_filter(array, width), affine)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0), (2.0, 2.0, 0.7)])
def test_a_blob_stays_where_it_is_in_millimetres(spacing):
    volume = blob((20, 24, 18), (7, 14, 10), OBLIQUE)
    result = super_resolve(volume, bundle(), spacing=spacing).volume
    assert result.grid.spacing == pytest.approx(spacing)
    before, after = (
        v.affine @ [*center_of_mass(np.clip(v.array, 0, None)), 1] for v in (volume, result)
    )
    assert np.linalg.norm(before - after) < 0.05


def test_thick_slices_become_thin_over_the_same_extent():
    affine = np.diag([1.0, 1.0, 6.0, 1.0])
    result = super_resolve(blob((16, 16, 10), (8, 8, 5), affine), bundle()).volume
    assert result.shape == (16, 16, 60)
    np.testing.assert_allclose(result.affine[:3, 3], [0, 0, -2.5])


def test_the_result_degrades_to_what_was_measured():
    rng = np.random.default_rng(0)
    volume = Volume(gaussian_filter(rng.random((16, 18, 14)), 1).astype(np.float32) * 400, np.diag([2.0, 2, 2, 1]))
    result = super_resolve(volume, bundle(1.3))
    assert result.residual > 0.2
    assert result.residual_after < 0.02
    again = downsample_cubic(result.volume.array, (2, 2, 2))
    assert np.linalg.norm(again - volume.array) / np.linalg.norm(volume.array) < 0.02


def test_consistent_data_are_left_alone():
    volume = torch.from_numpy(gaussian_filter(np.random.default_rng(0).random((16, 16, 16)), 2).astype(np.float32))
    measured = torch.from_numpy(downsample_cubic(volume.numpy(), (2, 2, 2)))
    result, before, after = make_consistent(volume, measured, (0.5, 0.5, 0.5))
    assert before < 1e-6
    assert after < 1e-6
    torch.testing.assert_close(result, volume, atol=1e-5, rtol=0)


def test_a_volume_at_its_target_is_not_touched():
    volume = blob((12, 12, 12), (6, 6, 6), np.eye(4))
    result = super_resolve(volume, bundle(2.0))
    np.testing.assert_allclose(result.volume.array, volume.array, atol=1e-3)


def test_outside_the_mask_is_interpolated_only():
    volume = Volume(np.full((40, 40, 40), 100, np.float32), np.diag([2.0, 2, 2, 1]))
    mask = np.zeros(volume.shape, np.uint8)
    mask[18:22, 18:22, 18:22] = 1
    seen = []
    network = bundle()
    network.network.register_forward_hook(lambda m, i, o: seen.append(o.shape))
    super_resolve(volume, network, mask=volume.with_array(mask))
    assert max(max(shape[-2:]) for shape in seen) <= 2 * (4 + 16)


def test_progress_ends_at_one():
    done: list[float] = []
    super_resolve(blob((8, 8, 8), (4, 4, 4), np.diag([2.0, 2, 2, 1])), bundle(), progress=done.append)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)


def test_an_image_without_signal_is_refused():
    with pytest.raises(PreparationError, match="needs an image with signal"):
        super_resolve(Volume(np.zeros((4, 4, 4), np.float32), np.eye(4)), bundle())


def test_coarser_than_measured_is_refused():
    with pytest.raises(ValueError, match="coarser"):
        super_resolve(blob((8, 8, 8), (4, 4, 4), np.eye(4)), bundle(), spacing=(2.0, 1.0, 1.0))
