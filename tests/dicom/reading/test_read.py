"""Sound studies: geometry as SimpleITK has it, values as they were written, every transfer syntax."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from acuity.dicom.reading.read import load_stack, read_study
from acuity.errors import InputNotFoundError, NoDicomError, SeveralStudiesError
from acuity.volume import sitk_affine
from tests.dicom_builder import (
    FRAME_UID,
    STUDY_UID,
    axial_affine,
    oblique_affine,
    phantom,
    uid,
    write_dicomdir,
    write_mr_series,
    write_other,
)
from tests.dicom_reader import only_series, only_volume, sitk_series

HTJ2K_STREAMS = Path(__file__).parents[2] / "data" / "htj2k"


@pytest.mark.parametrize(
    "affine",
    [
        pytest.param(axial_affine(), id="axial"),
        pytest.param(axial_affine((0.7, 1.9, 4.0)), id="anisotropic"),
        pytest.param(oblique_affine(), id="oblique, anisotropic"),
        pytest.param(oblique_affine((1.0, 0.5, 6.0), (95.0, 10.0, -80.0)), id="steep, thick"),
        pytest.param(oblique_affine((1.0, 1.0, 1.0), (-90.0, 0.0, 0.0)), id="coronal"),
    ],
)
def test_geometry_agrees_with_simpleitk(tmp_path: Path, affine: np.ndarray) -> None:
    array = phantom()
    write_mr_series(tmp_path, array, affine)
    volume, image = only_volume(tmp_path), sitk_series(tmp_path)
    np.testing.assert_array_equal(volume.array.transpose(2, 1, 0), sitk.GetArrayFromImage(image))
    corners = np.array(np.meshgrid(*[[0, n - 1] for n in volume.shape])).reshape(3, -1).T
    ours = [(volume.affine @ [*c, 1])[:3] for c in corners]
    theirs = [image.TransformIndexToPhysicalPoint([int(x) for x in c]) for c in corners]
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)
    np.testing.assert_allclose(sitk_affine(image), volume.affine, atol=1e-3)


def test_a_lesion_lies_at_its_millimeters(tmp_path: Path) -> None:
    affine = oblique_affine((0.8, 1.3, 2.5))
    array = np.zeros((24, 20, 12), dtype=np.uint16)
    array[17:20, 4:6, 8] = 100
    write_mr_series(tmp_path, array, affine)
    volume = only_volume(tmp_path)
    voxels = np.argwhere(volume.array > 50)
    centroid = volume.affine @ [*voxels.mean(axis=0), 1]
    np.testing.assert_allclose(centroid, affine @ [18, 4.5, 8, 1], atol=1e-6)


def test_slices_are_sorted_by_position_whatever_files_and_numbers_say(tmp_path: Path) -> None:
    """Right-handed: k rises along row x column, here against the order of the files."""
    affine, array = oblique_affine(), phantom()
    write_mr_series(tmp_path, array, affine, edit=lambda ds, k: setattr(ds, "InstanceNumber", 100 - k))
    renamed = sorted(tmp_path.glob("*.dcm"))
    for n, path in enumerate(renamed):
        path.rename(tmp_path / f"{(n * 7) % 12:02d}")
    volume = only_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    assert np.linalg.det(volume.affine[:3, :3]) > 0
    assert [ds.InstanceNumber for ds in volume.source_images] == list(range(100, 88, -1))


def test_slices_written_head_first_come_out_right_handed(tmp_path: Path) -> None:
    """The builder's affine is left-handed here: the reader turns k round, and every voxel stays where it was."""
    affine = axial_affine((1.0, 1.5, 3.0))
    affine[:3, 2] *= -1
    array = phantom()
    write_mr_series(tmp_path, array, affine)
    volume = only_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, array[:, :, ::-1])
    np.testing.assert_allclose(volume.affine @ [0, 0, 11, 1], affine @ [0, 0, 0, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("declared", "warned"), [("1", True), ("6.07", True), ("6.05", False), ("-6", False), ("0", False), (None, False)]
)
def test_what_the_series_declares_about_its_spacing_is_not_believed(
    tmp_path: Path, declared: str | None, warned: bool
) -> None:
    affine = axial_affine((1, 1, 6))
    write_mr_series(tmp_path, phantom(), affine, SliceThickness="5", SpacingBetweenSlices=declared)
    series = only_series(tmp_path)
    assert series.stacks[0].grid.spacing[2] == pytest.approx(6)
    warning = f"SpacingBetweenSlices is {declared} mm, but the slices lie 6 mm apart, which is used."
    assert series.warnings == ((warning,) if warned else ())


def test_text_rounding_of_positions_is_not_a_missing_slice(tmp_path: Path) -> None:
    def two_decimals(ds: Dataset, k: int) -> None:
        ds.ImagePositionPatient = [f"{float(x):.2f}" for x in ds.ImagePositionPatient]

    write_mr_series(tmp_path, phantom(), oblique_affine((1, 1, 1.17)), edit=two_decimals)
    assert only_volume(tmp_path).grid.spacing[2] == pytest.approx(1.17, abs=0.002)


@pytest.mark.parametrize("seed", range(3))
def test_each_slice_has_its_own_rescale(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes, intercepts = rng.uniform(0.01, 3, 12), rng.uniform(-20, 40, 12)
    stored = rng.integers(-3000, 3000, (24, 20, 12))
    write_mr_series(tmp_path, stored.astype(np.int16), axial_affine())
    for k, path in enumerate(sorted(tmp_path.glob("*.dcm"))):
        ds = dcmread(path)
        ds.RescaleSlope, ds.RescaleIntercept = f"{slopes[k]:.8f}", f"{intercepts[k]:.8f}"
        ds.save_as(path)
    volume = only_volume(tmp_path)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, stored * slopes + intercepts, atol=1e-3)


def test_values_beyond_16_bits_do_not_wrap(tmp_path: Path) -> None:
    array = phantom() * 100.0
    write_mr_series(tmp_path, array, axial_affine(), slope=100.0)
    assert only_volume(tmp_path).array.max() == array.max() > 65535


# By the names of pydicom.uid.
NATIVE = ["ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian", "DeflatedExplicitVRLittleEndian"]
COMPRESSED = ["RLELossless", "JPEGLossless", "JPEGLosslessSV1", "JPEGLSLossless", "JPEG2000Lossless"]


@pytest.mark.parametrize("syntax", NATIVE + COMPRESSED)
def test_every_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    array = phantom((36, 34, 3), seed=7)  # JPEG 2000 is not encoded below 32 pixels
    write_mr_series(tmp_path, array, oblique_affine(), transfer_syntax=getattr(pydicom.uid, syntax))
    np.testing.assert_array_equal(only_volume(tmp_path).array, array)


def test_htj2k(tmp_path: Path) -> None:
    array = phantom((36, 34, 3), seed=7)
    streams = [(HTJ2K_STREAMS / f"slice_{k}.jhc").read_bytes() for k in range(3)]
    write_mr_series(tmp_path, array, oblique_affine(), transfer_syntax=HTJ2KLossless, encoded=streams)
    np.testing.assert_array_equal(only_volume(tmp_path).array, array)


@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "ExplicitVRBigEndian", "RLELossless", "JPEGLSLossless"])
def test_signed_pixels(tmp_path: Path, syntax: str) -> None:
    array = phantom().astype(np.int16) - 900
    write_mr_series(tmp_path, array, axial_affine(), transfer_syntax=getattr(pydicom.uid, syntax))
    np.testing.assert_array_equal(only_volume(tmp_path).array, array)


def test_a_volume_knows_where_it_came_from(tmp_path: Path) -> None:
    write_mr_series(tmp_path, phantom(), axial_affine(), name="T2 axial")
    study = read_study(tmp_path)
    assert study.study_uid == STUDY_UID
    series = study.series[0]
    assert (series.description, series.modality, series.code) == ("T2 axial", "MR", "ok")
    assert series.reason == "1 volume of 24 x 20 x 12 voxels, 1 x 1 x 3 mm."
    volume = load_stack(series.stacks[0])
    assert volume.frame_of_reference_uid == FRAME_UID
    assert [ds.InstanceNumber for ds in volume.source_images] == list(range(1, 13))
    assert not any("PixelData" in ds for ds in volume.source_images)


def test_without_frame_of_reference_a_series_is_read_with_a_warning(tmp_path: Path) -> None:
    write_mr_series(tmp_path, phantom(), axial_affine(), FrameOfReferenceUID=None)
    series = only_series(tmp_path)
    assert series.verdict == "ok"
    assert series.stacks[0].frame_of_reference_uid is None
    assert any(note.startswith("FrameOfReferenceUID is absent") for note in series.warnings)


def test_series_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number, name in ((11, "FLAIR"), (2, "T1"), (30, "T1c")):
        write_mr_series(tmp_path / name, phantom(), axial_affine(), name=name, series_number=number)
    write_mr_series(tmp_path / "none", phantom(), axial_affine(), name="none", SeriesNumber=None)
    assert [s.description for s in read_study(tmp_path).series] == ["T1", "FLAIR", "T1c", "none"]


def test_series_that_share_a_folder(tmp_path: Path) -> None:
    write_mr_series(tmp_path, phantom(seed=1), axial_affine(), name="T1", series_number=1)
    write_mr_series(tmp_path, phantom(seed=2), oblique_affine(), name="T2", series_number=2)
    first, second = (load_stack(s.stacks[0]) for s in read_study(tmp_path).series)
    np.testing.assert_array_equal(first.array, phantom(seed=1))
    np.testing.assert_array_equal(second.array, phantom(seed=2))


def test_files_that_are_not_dicom_are_listed_and_passed_over(tmp_path: Path) -> None:
    write_mr_series(tmp_path / "series", phantom(), axial_affine())
    (tmp_path / "series" / "._T1_0001.dcm").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    (tmp_path / "series" / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    (tmp_path / "notes.dcm").write_text("not DICOM at all")
    (tmp_path / "empty").touch()
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(4000))
    (tmp_path / "bare").write_bytes(b"\x08\x00\x05\x00" + np.random.default_rng(1).bytes(4000))
    study = read_study(tmp_path)
    assert [s.verdict for s in study.series] == ["ok"]
    names = {"series/._T1_0001.dcm", "series/.DS_Store", "notes.dcm", "empty", "noise", "bare"}
    assert dict(study.ignored) == dict.fromkeys(names, "not DICOM")


def test_dicom_without_the_preamble_is_read(tmp_path: Path) -> None:
    paths = write_mr_series(tmp_path, phantom(), axial_affine(), transfer_syntax=ImplicitVRLittleEndian)
    for path in paths:
        ds = dcmread(path)
        with path.open("wb") as stream:
            ds.save_as(stream, implicit_vr=True, little_endian=True)
        data = path.read_bytes()
        start = data.index(b"\x08\x00\x05\x00")
        path.write_bytes(data[start:])
    np.testing.assert_array_equal(only_volume(tmp_path).array, phantom())


@pytest.mark.parametrize("given", ["folder", "DICOMDIR"])
def test_a_dicomdir_file_set(tmp_path: Path, given: str) -> None:
    write_mr_series(tmp_path / "source", phantom(seed=1), axial_affine(), name="T1", series_number=1)
    write_mr_series(tmp_path / "source", phantom(seed=2), axial_affine(), name="T2", series_number=2)
    target = tmp_path / "disc"
    write_dicomdir(tmp_path / "source", target)
    study = read_study(target if given == "folder" else target / "DICOMDIR")
    assert [(s.description, s.verdict) for s in study.series] == [("T1", "ok"), ("T2", "ok")]
    assert study.ignored == (("DICOMDIR", "DICOMDIR, an index of the other files"),)
    np.testing.assert_array_equal(load_stack(study.series[1].stacks[0]).array, phantom(seed=2))


def test_a_copied_file_counts_once(tmp_path: Path) -> None:
    paths = write_mr_series(tmp_path, phantom(), axial_affine())
    (tmp_path / "again.dcm").write_bytes(paths[3].read_bytes())
    study = read_study(tmp_path)
    assert study.series[0].verdict == "ok"
    assert [reason for _, reason in study.ignored] == ["a copy of another file"]


def test_other_objects_are_refused_and_do_not_stop_the_study(tmp_path: Path) -> None:
    write_mr_series(tmp_path / "mr", phantom(), axial_affine())
    write_other(tmp_path / "sr", BasicTextSRStorage, "SR")
    write_other(tmp_path / "pr", GrayscaleSoftcopyPresentationStateStorage, "PR")
    write_mr_series(tmp_path / "ct", phantom(), axial_affine(), name="CT", SOPClassUID=CTImageStorage, Modality="CT")
    write_mr_series(
        tmp_path / "sc", phantom(), axial_affine(), name="SC", SOPClassUID=SecondaryCaptureImageStorage, Modality="OT"
    )
    verdicts = {s.modality: (s.verdict, s.code) for s in read_study(tmp_path).series}
    assert verdicts.pop("MR") == ("ok", "ok")
    assert verdicts == dict.fromkeys(["SR", "PR", "CT", "OT"], ("refused", "unsupported-series"))


def test_color_is_refused(tmp_path: Path) -> None:
    def color(ds: Dataset, k: int) -> None:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.Columns = 7, ds.Columns * 2 // 3

    write_mr_series(tmp_path, phantom(), axial_affine(), edit=color)
    series = only_series(tmp_path)
    assert (series.code, series.reason.startswith("A color image.")) == ("unsupported-series", True)


def test_no_path(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="does not exist"):
        read_study(tmp_path / "absent")


def test_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(NoDicomError, match="0 damaged and 1 other files"):
        read_study(tmp_path)
    with pytest.raises(NoDicomError):
        read_study(tmp_path / "notes.txt")


def test_two_studies(tmp_path: Path) -> None:
    write_mr_series(tmp_path / "a", phantom(), axial_affine())
    write_mr_series(tmp_path / "b", phantom(), axial_affine(), study_uid=uid("another study"))
    with pytest.raises(SeveralStudiesError, match="holds 2 studies.*folder of one study"):
        read_study(tmp_path)


def test_two_patients_under_one_study_uid(tmp_path: Path) -> None:
    write_mr_series(tmp_path / "a", phantom(), axial_affine())
    write_mr_series(tmp_path / "b", phantom(), axial_affine(), name="T2", PatientID="SECRET-2")
    with pytest.raises(SeveralStudiesError, match="2 patient IDs") as refusal:
        read_study(tmp_path)
    assert "SECRET" not in str(refusal.value)
