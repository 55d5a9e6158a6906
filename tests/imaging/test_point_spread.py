"""Point spread functions against NumPy's Fourier transform and means, SciPy's Gaussian, and antialiased shrinking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from acuity.imaging.forward_model import resize_matrix
from acuity.imaging.point_spread import KINDS, PointSpread

ENCODED = ("kspace", "hann", "hamming", "fermi")


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    width=st.floats(0.7, 1.5),
    size=st.integers(12, 60),
    ratio=st.floats(1.2, 6),
)
def test_a_flat_line_stays_flat_and_a_ramp_stays_in_place(kind: str, width: float, size: int, ratio: float) -> None:
    count = max(1, int(size / ratio))
    matrix = PointSpread(kind, width).matrix(size, count, ratio).numpy()  # type: ignore[arg-type]
    assert matrix.shape == (count, size)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bump_keeps_its_place(kind: str) -> None:
    x = np.arange(96)
    bump = np.exp(-0.5 * ((x - 50.3) / 6) ** 2)
    low = PointSpread(kind).matrix(96, 32, 3.0).numpy() @ bump  # type: ignore[arg-type]
    places = 3 * np.arange(32) + 1
    assert low @ places / low.sum() == pytest.approx(50.3, abs=0.05)


def test_a_box_is_the_mean_and_a_gap_leaves_out_what_lies_between() -> None:
    line = np.random.default_rng(0).random(60)
    parts = line.reshape(12, 5)
    np.testing.assert_allclose(PointSpread("box").matrix(60, 12, 5.0).numpy() @ line, parts.mean(axis=1), atol=1e-6)
    gapped = PointSpread("box", 0.6).matrix(60, 12, 5.0).numpy() @ line
    np.testing.assert_allclose(gapped, parts[:, 1:4].mean(axis=1), atol=1e-6)


def test_nominal_cubic_is_antialiased_shrinking() -> None:
    np.testing.assert_allclose(PointSpread("cubic").matrix(40, 20, 2.0), resize_matrix(40, 20, 2.0), atol=1e-5)


@pytest.mark.parametrize("width", [0.6, 1.0, 1.5])
def test_a_gaussian_is_scipys(width: float) -> None:
    line = ndimage.gaussian_filter(np.random.default_rng(1).random(81), 3)
    blurred = ndimage.gaussian_filter1d(line, width * 3 / np.sqrt(8 * np.log(2)), mode="nearest")
    found = PointSpread("gaussian", width).matrix(81, 27, 3.0).numpy() @ line
    np.testing.assert_allclose(found[3:-3], blurred[1::3][3:-3], atol=1e-3)


@pytest.mark.parametrize("kind", ENCODED)
def test_k_space_keeps_the_middle_and_filters_it(kind: str) -> None:
    """NumPy's transform of a line without its highest frequency, which a cut may count on either side."""
    count, ratio = 33, 2.0
    spectrum = np.fft.fft(np.random.default_rng(2).random(66))
    frequency = np.fft.fftfreq(66, 1 / 66)
    u = np.abs(frequency) / (66 / 2 / ratio)
    window = {
        "kspace": np.ones(66),
        "hann": np.cos(np.pi * u / 2) ** 2,
        "hamming": 0.54 + 0.46 * np.cos(np.pi * u),
        "fermi": 1 / (1 + np.exp((u - 0.8) / 0.05)),
    }[kind]
    shift = np.exp(2j * np.pi * frequency / 66 * (ratio - 1) / 2)  # between each two fine samples
    expected = np.fft.ifft(spectrum * window * shift * (u <= 1))[::2].real
    found = PointSpread(kind).matrix(66, count, ratio).numpy() @ np.fft.ifft(spectrum).real  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected / window[0], atol=1e-5)


@pytest.mark.parametrize(("kind", "expected"), [("kspace", 1.207), ("hann", 2.0), ("hamming", 1.82), ("box", 1.0)])
def test_full_widths_are_those_of_the_literature(kind: str, expected: float) -> None:
    """Bernstein, King, Zhou 2004; Harris, Proc. IEEE 66(1), 1978."""
    assert PointSpread(kind).full_width() == pytest.approx(expected, abs=0.03)  # type: ignore[arg-type]
    assert PointSpread(kind, 1.3).full_width() == pytest.approx(1.3 * expected, abs=0.03)  # type: ignore[arg-type]
