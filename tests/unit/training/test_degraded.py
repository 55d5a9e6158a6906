"""The paper's low resolution, and how it is brought back."""

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from acuity.training.degraded import interpolated, low_resolution
from acuity.volume import Volume


def smooth(shape=(24, 30, 19)):
    array = gaussian_filter(np.random.default_rng(0).random(shape), 2.5).astype(np.float32)
    affine = np.array([[0.8, 0, 0, 4], [0, 0, 1.2, -3], [0, -0.9, 0, 6], [0, 0, 0, 1]])
    return Volume(array, affine)


def test_low_resolution_lies_where_the_original_does():
    """SimpleITK, which knows only the affine, finds the original's values at the low resolution's voxels."""
    volume = smooth()
    low = low_resolution(volume)
    assert low.shape == (12, 15, 10)
    there = sitk.GetArrayFromImage(sitk.Resample(volume.to_sitk(), low.to_sitk(), sitk.Transform(), sitk.sitkBSpline))
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(low.array[inner], there.transpose(2, 1, 0)[inner], atol=0.01)


def test_interpolation_comes_back_to_the_grid():
    volume = smooth()
    back = interpolated(volume, low_resolution(volume))
    assert back.shape == volume.shape
    np.testing.assert_allclose(back[4:-4, 4:-4, 4:-4], volume.array[4:-4, 4:-4, 4:-4], atol=0.02)
