"""The script that writes fastMRI files: its k-space, transformed back by numpy, gives the images it was given."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from acuity.research.datasets.fastmri import read_scan
from tools.make_fastmri import coil_sensitivities, main


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fastmri")
    arguments = [str(folder), "--phantom", "--spacing", "8", "--coils", "3", "--seed", "5"]
    assert main(arguments) == 0
    return folder


def numpy_image(kspace):
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))


def test_kspace_gives_the_stored_images(written):
    paths = [written / kind / "scan_1.h5" for kind in ("multicoil", "singlecoil")]
    with h5py.File(paths[0]) as multi, h5py.File(paths[1]) as one:
        rss, esc = multi["reconstruction_rss"][()], one["reconstruction_esc"][()]
        slices, rows, columns = rss.shape
        assert multi["kspace"].shape == (slices, 3, 2 * rows, columns) and multi["kspace"].dtype == np.complex64
        assert one["kspace"].shape == (slices, 2 * rows, columns)
        middle = slice((2 * rows - rows) // 2, (2 * rows - rows) // 2 + rows)
        coils = numpy_image(multi["kspace"][()])[..., middle, :]
        single = numpy_image(one["kspace"][()])[..., middle, :]
        assert multi.attrs["max"] == rss.max() and multi.attrs["norm"] == pytest.approx(np.linalg.norm(rss))
        assert multi.attrs["acquisition"] == "AXT1" and len(multi.attrs["patient_id"]) == 64
    np.testing.assert_allclose(np.sqrt((np.abs(coils) ** 2).sum(axis=1)), rss, atol=1e-3 * rss.max())
    np.testing.assert_allclose(np.abs(single), esc, atol=1e-5 * esc.max())
    assert np.abs(np.angle(single[esc > 0.2 * esc.max()])).max() > 0.1  # k-space of a real scan has a phase


def test_coils_differ_and_are_smooth():
    weights = coil_sensitivities((40, 30), 4, np.random.default_rng(0))
    np.testing.assert_allclose((np.abs(weights) ** 2).sum(axis=0), 1)
    peaks = {np.unravel_index(np.abs(w).argmax(), w.shape) for w in weights}
    assert len(peaks) == 4
    assert max(np.abs(np.diff(weights, axis=axis)).max() for axis in (1, 2)) < 0.2


def test_the_same_seed_gives_the_same_files(written, tmp_path):
    for seed, same in (("5", True), ("6", False)):
        folder = tmp_path / seed
        main([str(folder), "--phantom", "--spacing", "8", "--coils", "3", "--seed", seed])
        with h5py.File(folder / "multicoil" / "scan_2.h5") as a, h5py.File(written / "multicoil" / "scan_2.h5") as b:
            assert (a["kspace"].shape == b["kspace"].shape and np.array_equal(a["kspace"], b["kspace"])) is same


def test_our_reader_reads_all_sequences(written):
    scans = [read_scan(written / "multicoil" / f"scan_{n}.h5") for n in (1, 2, 3, 4)]
    assert [scan.acquisition for scan in scans] == ["AXT1", "AXT1POST", "AXT2", "AXFLAIR"]
    assert all(scan.spacing == pytest.approx((8, 8)) for scan in scans)


def test_dicom_becomes_fastmri(shared_data, tmp_path):
    (tmp_path / "study").mkdir()
    for n in (1, 9, 17):  # the first echo of three neighboring slices
        file = shared_data / "knee_mese" / f"E3655S8I{n:03}.MR.dcm"
        if not file.is_file():
            pytest.skip(f"{file.name} of knee_mese is not on this machine")
        (tmp_path / "study" / file.name).symlink_to(file)
    assert main([str(tmp_path / "out"), "--dicom", str(tmp_path / "study"), "--coils", "2"]) == 0
    scan = read_scan(tmp_path / "out" / "multicoil" / "scan_1.h5")
    assert scan.images.shape == (3, 256, 256)
    assert scan.spacing == pytest.approx((0.625, 0.625))
    with h5py.File(tmp_path / "out" / "multicoil" / "scan_1.h5") as file:
        coils = numpy_image(file["kspace"][1])[:, 128:384]
        header = file["ismrmrd_header"][()].decode()
    np.testing.assert_allclose(np.hypot(*np.abs(coils)), scan.images[1], atol=1e-5 * scan.images.max())
    assert "<z>4" in header or "<z>3.99" in header  # slices lie 4 mm apart


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments --dicom --phantom is required"),
        (["--phantom", "--coils", "0"], "--coils must be at least 1"),
    ],
)
def test_a_wrong_command_line_is_refused(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as refusal:
        main([str(tmp_path / "out"), *arguments])
    assert refusal.value.code == 2
    assert message in capsys.readouterr().err


def test_nothing_is_written_into_the_repository_or_over_files(repository, tmp_path, capsys):
    (tmp_path / "file").touch()
    for out, message in ((repository / "made", "lies in the repository"), (tmp_path, "is not an empty folder")):
        with pytest.raises(SystemExit):
            main([str(out), "--phantom"])
        assert message in capsys.readouterr().err
        assert not (out / "multicoil").exists()


def test_a_folder_without_dicom_ends_with_the_errors_code(tmp_path, capsys):
    assert main([str(tmp_path / "out"), "--dicom", str(tmp_path)]) == 11
    assert "No DICOM file" in capsys.readouterr().err
