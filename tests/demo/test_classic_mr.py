"""Series written as a scanner would: judged by SimpleITK and by dciodvfy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from acuity.anatomy import Sequence
from acuity.demo.classic_mr import PROTOCOL, degrade, write_study, write_volume_as_series
from acuity.volume import Volume, sitk_affine

TAGS = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "SeriesNumber": 7}


@pytest.fixture
def oblique() -> Volume:
    """An asymmetric image in an oblique, anisotropic grid; integers up to 4095, so that nothing is rounded."""
    euler = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.3, -0.2, 0.5)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(euler.GetMatrix(), (3, 3)) * (0.8, 1.3, 4.0)
    affine[:3, 3] = (-20.0, 11.5, -7.25)
    array = np.random.default_rng(0).integers(0, 4000, (14, 11, 6)).astype(np.float32)
    array[9, 2, 4] = 4095.0
    return Volume(array, affine, "1.2.9")


def read_by_simpleitk(paths: list[Path]) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(p) for p in paths])
    return reader.Execute()


def test_simpleitk_reads_the_same_voxels_at_the_same_millimeters(oblique: Volume, tmp_path: Path) -> None:
    image = read_by_simpleitk(write_volume_as_series(oblique, tmp_path / "series", tags=TAGS))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), oblique.array)
    np.testing.assert_allclose(sitk_affine(image), oblique.affine, atol=1e-6)


def test_tags_are_taken_and_defaults_removed(oblique: Volume, tmp_path: Path) -> None:
    tags = {**TAGS, **PROTOCOL[Sequence.T1C], "FrameOfReferenceUID": None, "EchoTime": 12.5}
    ds = pydicom.dcmread(write_volume_as_series(oblique, tmp_path, tags=tags)[0])
    assert "FrameOfReferenceUID" not in ds
    assert ds.EchoTime == 12.5
    assert ds.ContrastBolusAgent == "GADOLINIUM"
    assert ds.StudyInstanceUID == "1.2.3"
    assert ds.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian


def test_the_volume_s_frame_is_the_default(oblique: Volume, tmp_path: Path) -> None:
    ds = pydicom.dcmread(write_volume_as_series(oblique, tmp_path, tags=TAGS)[3])
    assert ds.FrameOfReferenceUID == "1.2.9"
    assert ds.InstanceNumber == 4


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_what_no_scanner_stores_is_refused(oblique: Volume, tmp_path: Path, value: float) -> None:
    array = oblique.array.copy()
    array[0, 0, 0] = value
    with pytest.raises(ValueError, match="no negative and no infinite"):
        write_volume_as_series(oblique.with_array(array), tmp_path, tags=TAGS)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
def test_every_sequence_is_a_valid_mr_image_of_one_study(oblique: Volume, tmp_path: Path) -> None:
    files = write_study(
        dict.fromkeys(Sequence, oblique), tmp_path, identity="test", patient_name="TEST^ONE", description="Test"
    )
    for paths in files.values():
        report = subprocess.run(["dciodvfy", "-new", str(paths[0])], capture_output=True, text=True, check=False).stderr
        assert "MRImage" in report
        assert "Error" not in report
        assert "Warning" not in report


def test_a_study_has_one_identity_and_four_series(oblique: Volume, tmp_path: Path) -> None:
    def write(folder: str, identity: str) -> dict[Sequence, pydicom.Dataset]:
        files = write_study(
            dict.fromkeys(Sequence, oblique),
            tmp_path / folder,
            identity=identity,
            patient_name="TEST^ONE",
            description="Test",
        )
        assert all(len(paths) == oblique.shape[2] for paths in files.values())
        return {sequence: pydicom.dcmread(paths[0]) for sequence, paths in files.items()}

    first, again, other = write("a", "one"), write("b", "one"), write("c", "two")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert len({str(ds[keyword].value) for ds in first.values()}) == 1
    assert len({ds.SeriesInstanceUID for ds in first.values()}) == 4
    assert first[Sequence.T1].SOPInstanceUID == again[Sequence.T1].SOPInstanceUID
    assert first[Sequence.T1].StudyInstanceUID != other[Sequence.T1].StudyInstanceUID


def test_degrading_keeps_place_and_mean(oblique: Volume) -> None:
    index = np.indices((24, 20, 12)).astype(np.float32)
    smooth = 100.0 + 3.0 * index[0] + 5.0 * index[1] + 7.0 * index[2]
    volume = Volume(smooth, oblique.affine)
    low = degrade(volume, (1.6, 2.6, 8.0))
    assert low.shape == (12, 10, 6)
    np.testing.assert_allclose(low.spacing, (1.6, 2.6, 8.0))
    # In a linear ramp a voxel's value says where its center lies; SimpleITK looks it up in the original.
    for voxel in [(5, 4, 2), (6, 5, 3)]:
        point = low.affine[:3, :3] @ voxel + low.grid.origin
        place = volume.to_sitk().TransformPhysicalPointToContinuousIndex(point.tolist())
        assert low.array[voxel] == pytest.approx(100.0 + 3.0 * place[0] + 5.0 * place[1] + 7.0 * place[2], rel=1e-4)


def test_degrading_never_goes_below_zero_or_finer(oblique: Volume) -> None:
    edge = np.zeros((16, 16, 16), dtype=np.float32)
    edge[7:, :, :] = 1000.0
    assert degrade(Volume(edge, np.eye(4)), (2.0, 2.0, 2.0)).array.min() == 0.0
    with pytest.raises(ValueError, match="finer than the volume's"):
        degrade(oblique, (0.5, 2.6, 8.0))
