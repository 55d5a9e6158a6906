"""fastMRI files, with numpy's Fourier transform as the judge."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from acuity.errors import DataError
from acuity.research.datasets.fastmri import center_crop, inverse_fourier, read_scan, reconstruct

HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>32</x><y>14</y><z>1</z></matrixSize>
<fieldOfView_mm><x>24</x><y>7</y><z>3</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>12</x><y>10</y><z>1</z></matrixSize>
<fieldOfView_mm><x>9</x><y>5</y><z>3</z></fieldOfView_mm></reconSpace>
</encoding></ismrmrdHeader>"""


def centered_fft(image: np.ndarray) -> np.ndarray:
    """By the definition, a sum over pixels: no fftshift whose direction could be wrong on both sides."""
    matrices = [
        np.exp(-2j * np.pi * np.outer(np.arange(n) - n // 2, np.arange(n) - n // 2) / n) / np.sqrt(n)
        for n in image.shape[-2:]
    ]
    return matrices[0] @ image @ matrices[1].T


@pytest.fixture
def scan() -> dict[str, np.ndarray]:
    """Three slices and two coils of 32 x 14, the middle 12 x 10 of which is the stored reconstruction."""
    rng = np.random.default_rng(0)
    coils = rng.normal(size=(3, 2, 32, 14)) + 1j * rng.normal(size=(3, 2, 32, 14))
    rss = np.sqrt((np.abs(coils) ** 2).sum(axis=1))[:, 10:22, 2:12]
    return {
        "multi": centered_fft(coils).astype(np.complex64),
        "rss": rss.astype(np.float32),
        "single": centered_fft(coils[:, 0]).astype(np.complex64),
        "esc": np.abs(coils[:, 0])[:, 10:22, 2:12].astype(np.float32),
    }


def write(path: Path, header: str | None = HEADER, **content: np.ndarray | None) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in content.items():
            if array is not None:
                file[name] = array
        if header is not None:
            file["ismrmrd_header"] = header
        file.attrs["acquisition"] = "CORPD_FBK"
    return path


@pytest.mark.parametrize(
    ("kspace", "stored", "name"),
    [
        ("multi", "rss", "reconstruction_rss"),
        ("single", "esc", "reconstruction_esc"),
    ],
)
def test_a_reconstruction_from_kspace_is_the_stored_one(tmp_path, scan, kspace, stored, name):
    both = read_scan(write(tmp_path / "a.h5", kspace=scan[kspace], **{name: scan[stored]}))
    np.testing.assert_array_equal(both.images, scan[stored])
    made = read_scan(write(tmp_path / "b.h5", kspace=scan[kspace]))
    assert made.images.dtype == np.float32
    np.testing.assert_allclose(made.images, scan[stored], rtol=1e-5, atol=1e-5)


def test_pixel_size_and_acquisition_are_read(tmp_path, scan):
    read = read_scan(write(tmp_path / "a.h5", kspace=scan["single"]))
    assert read.spacing == pytest.approx((0.75, 0.5))
    assert read.acquisition == "CORPD_FBK"


def test_each_kspace_has_its_own_reconstruction(tmp_path, scan):
    """The published single-coil files hold both."""
    both = {"reconstruction_rss": scan["rss"], "reconstruction_esc": scan["esc"]}
    single = read_scan(write(tmp_path / "a.h5", kspace=scan["single"], **both))
    np.testing.assert_array_equal(single.images, scan["esc"])
    np.testing.assert_array_equal(read_scan(write(tmp_path / "b.h5", **both)).images, scan["rss"])


def test_a_published_sized_slice_is_cropped_to_320():
    image = np.zeros((1, 640, 368))
    image[0, 320, 184] = 2.0  # the origin
    result = reconstruct(centered_fft(image), (320, 320))
    assert result.shape == (320, 320)
    assert result.argmax() == 160 * 320 + 160
    assert result.max() == pytest.approx(2.0)


@pytest.mark.parametrize("shape", [(6, 8), (7, 9)])
def test_the_transform_is_centered_and_orthonormal_for_odd_sizes_too(shape):
    image = np.random.default_rng(1).random(shape)
    kspace = centered_fft(image)
    np.testing.assert_allclose(inverse_fourier(kspace), image, atol=1e-12)
    assert np.linalg.norm(kspace) == pytest.approx(np.linalg.norm(image))


def test_a_crop_takes_no_more_than_there_is():
    assert center_crop(np.zeros((2, 9, 4)), (6, 6)).shape == (2, 6, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kspace": None}, "A scan holds kspace or a reconstruction"),
        ({"header": None}, "ismrmrd_header is absent"),
        ({"header": "not XML"}, "header is not XML"),
        ({"header": HEADER.replace("<x>9</x>", "")}, "no number for reconSpace along x"),
        ({"header": HEADER.replace("<y>10</y>", "<y>0</y>")}, r"matrix of \[12, 0\]"),
        (
            {"header": HEADER.replace("?>", '?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>')},
            "document type",
        ),
        ({"mask": np.ones(14)}, "undersampled"),
        ({"kspace": np.zeros((12, 10), np.complex64)}, r"kspace has shape \(12, 10\)"),
        ({"kspace": np.zeros((3, 12, 10), np.float32)}, "type float32"),
        ({"reconstruction_esc": np.zeros((2, 12, 10))}, "beside 3 slices of k-space"),
        ({"reconstruction_esc": np.full((3, 12, 10), np.nan)}, "not finite"),
    ],
)
def test_what_is_missing_or_inconsistent_is_said(tmp_path, scan, change, message):
    with pytest.raises(DataError, match=message) as error:
        read_scan(write(tmp_path / "scan_7.h5", **{"kspace": scan["single"], **change}))
    assert "scan_7.h5" in str(error.value) and error.value.rule and error.value.remedy


def test_another_file_is_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"no HDF5 at all")
    with pytest.raises(DataError, match=r"a\.h5 cannot be read as HDF5"):
        read_scan(tmp_path / "a.h5")
