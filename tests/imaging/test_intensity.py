"""The z-score over the brain, and the bright end."""

from __future__ import annotations

import numpy as np
import pytest

from acuity.errors import PreparationError
from acuity.imaging.intensity import bright_end, zscore
from acuity.volume import Volume


@pytest.fixture
def image() -> Volume:
    return Volume(np.random.default_rng(0).normal(300.0, 40.0, (12, 10, 8)).astype(np.float32), np.eye(4))


@pytest.fixture
def mask(image: Volume) -> Volume:
    inside = np.zeros(image.shape, dtype=np.uint8)
    inside[2:10, 2:8, 1:7] = 1
    return image.with_array(inside)


def test_mean_and_deviation_inside_and_zero_outside(image: Volume, mask: Volume) -> None:
    result = zscore(image, mask).array
    inside = mask.array > 0
    assert result.dtype == np.float32
    assert result[inside].mean() == pytest.approx(0.0, abs=1e-5)
    assert result[inside].std() == pytest.approx(1.0, abs=1e-5)
    assert (result[~inside] == 0.0).all()


def test_gain_and_offset_do_not_matter_and_bright_vessels_are_clipped(image: Volume, mask: Volume) -> None:
    other = image.with_array(3.5 * image.array + 1000.0)
    np.testing.assert_allclose(zscore(other, mask).array, zscore(image, mask).array, atol=1e-4)
    image.array[5, 5, 3], image.array[5, 5, 4] = 5000.0, -5000.0
    scores = zscore(image, mask).array
    assert (scores.max(), scores.min()) == (5.0, -5.0)


@pytest.mark.parametrize("value", [0.0, 7.0, 1e6, np.nan])
def test_a_constant_image_is_refused(image: Volume, mask: Volume, value: float) -> None:
    with pytest.raises(PreparationError, match="no contrast to normalize"):
        zscore(image.with_array(np.full(image.shape, value, dtype=np.float32)), mask)


def test_an_empty_mask_and_another_grid_are_refused(image: Volume, mask: Volume) -> None:
    with pytest.raises(PreparationError, match="mask is empty"):
        zscore(image, mask.with_array(np.zeros(mask.shape, dtype=np.uint8)))
    with pytest.raises(ValueError, match="grid"):
        zscore(image, Volume(mask.array, np.diag([2.0, 1.0, 1.0, 1.0])))


def test_the_bright_end_is_a_percentile_of_what_is_above_zero() -> None:
    image = np.concatenate([np.arange(1, 1002), np.full(5000, -7.0), np.zeros(5000)])
    assert bright_end(image) == pytest.approx(1000)
    assert bright_end(image, 99.5) == pytest.approx(996)
    assert bright_end(np.zeros(5)) == 0
