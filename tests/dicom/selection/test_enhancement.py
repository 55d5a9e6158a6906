"""Whether a contrast agent shows in the intensities."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from acuity.dicom.selection.enhancement import measure_enhancement
from acuity.volume import Volume
from tests.dicom_builder import axial_affine, oblique_affine
from tests.hospital import SHAPE, brain


def volume(array: NDArray, affine: NDArray | None = None) -> Volume:
    return Volume(array.astype(np.float32), axial_affine() if affine is None else affine)


def zscore(array: NDArray) -> NDArray:
    values = array.astype(float)
    inside = values > 100
    return np.where(inside, (values - values[inside].mean()) / values[inside].std(), 0.0)


@pytest.mark.parametrize("gain", [0.1, 1.0, 1.6])
@pytest.mark.parametrize("noise", [5.0, 40.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_enhanced_scan_is_told_from_a_repeated_one(gain: float, noise: float, seed: int) -> None:
    before = volume(brain(seed=0, noise=noise))
    after = volume(brain(seed=seed, enhanced=True, gain=gain, noise=noise))
    repeated = volume(brain(seed=seed, gain=gain, noise=noise))
    assert measure_enhancement(before, after).verdict == 1
    assert measure_enhancement(after, before).verdict == -1
    assert measure_enhancement(before, repeated).verdict == 0
    assert measure_enhancement(repeated, before).verdict == 0


def test_units_do_not_matter() -> None:
    before, after, repeated = (brain(seed=s, enhanced=s == 1) for s in range(3))
    percent = before / np.percentile(before, 99) * 100.0
    assert measure_enhancement(volume(zscore(before)), volume(zscore(after))).verdict == 1
    assert measure_enhancement(volume(zscore(before)), volume(zscore(repeated))).verdict == 0
    # One z-scored and one not: what is alike between them is too little for both ways, and nothing is shown.
    assert measure_enhancement(volume(percent), volume(zscore(after))).verdict >= 0
    assert measure_enhancement(volume(percent), volume(after * 1e-6)).verdict == 1
    assert measure_enhancement(volume(percent), volume(repeated * 1e-6)).verdict == 0


@pytest.mark.parametrize("unit", [1e-6, 1e4])
def test_fractions_do_not_depend_on_the_unit(unit: float) -> None:
    before, after = brain(noise=40.0), brain(seed=1, enhanced=True, noise=40.0)
    found, scaled = (measure_enhancement(volume(before * u), volume(after * u)) for u in (1.0, unit))
    assert (scaled.brighter, scaled.darker) == pytest.approx((found.brighter, found.darker), rel=0.02)


def test_a_shading_of_the_coil_is_no_enhancement() -> None:
    field = np.exp(gaussian_filter(np.random.default_rng(5).normal(size=SHAPE), 6) * 6)
    assert 1.3 < field.max() / field.min() < 1.7
    repeated = volume(brain(seed=1) * field)
    assert measure_enhancement(volume(brain()), repeated).verdict == 0


def test_the_measure_is_symmetric() -> None:
    before, after = volume(brain(noise=40.0)), volume(brain(seed=1, enhanced=True, noise=40.0))
    there, back = measure_enhancement(before, after), measure_enhancement(after, before)
    assert (there.brighter, there.darker, there.verdict) == (back.darker, back.brighter, -back.verdict)


def test_what_stands_out_one_way_only_is_no_enhancement() -> None:
    scan = brain(enhanced=True).astype(float)
    blurred = gaussian_filter(scan, 1.0)  # small bright parts lose their peaks: 1 % stands out in the sharp scan alone
    assert measure_enhancement(volume(blurred), volume(scan)).verdict == 0
    assert measure_enhancement(volume(scan), volume(blurred)).verdict == 0


@pytest.mark.parametrize("offset", [(2.0, 0.0, 0.0), (1.0, -1.5, 0.3)])
def test_motion_of_two_mm_is_no_enhancement(offset: tuple[float, float, float]) -> None:
    moved = shift(brain(seed=1).astype(float), offset, order=1)
    assert measure_enhancement(volume(brain()), volume(moved)).verdict == 0


def test_an_inverted_contrast_is_no_enhancement() -> None:
    t1 = brain(seed=0).astype(float)
    assert measure_enhancement(volume(t1), volume(2000 - t1)).verdict == 0


def test_volumes_on_other_grids_are_compared_in_patient_space() -> None:
    affine = oblique_affine(spacing=(1.0, 1.0, 3.0))
    flipped = affine @ np.array([[-1, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, -1, SHAPE[2] - 1], [0, 0, 0, 1.0]])
    before = volume(brain(), affine)
    assert measure_enhancement(before, volume(brain(seed=1, enhanced=True)[::-1, :, ::-1], flipped)).verdict == 1
    assert measure_enhancement(before, volume(brain(seed=1)[::-1, :, ::-1], flipped)).verdict == 0


def test_nothing_in_common_shows_nothing() -> None:
    far = volume(brain(enhanced=True), axial_affine(origin=(500.0, 0.0, 0.0)))
    assert measure_enhancement(volume(brain()), far).verdict == 0
    empty = volume(np.zeros(SHAPE))
    assert measure_enhancement(empty, empty).verdict == 0


def test_the_measure_reads_as_a_clause() -> None:
    text = str(measure_enhancement(volume(brain()), volume(brain(seed=1, enhanced=True))))
    assert text.endswith("% of the voxels brighter, 0 % darker")
