"""The derived MR series: the same voxels at the same millimeters, and what it says of its origin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from acuity.anatomy import Sequence
from acuity.dicom.reading.read import load_stack, read_study
from acuity.dicom.writing.segmentation import write_segmentation
from acuity.dicom.writing.series import quantize, write_mr_series
from acuity.volume import Grid, Volume
from tests import dicom_builder
from tests.derived import SR_MODEL, source_volume
from tests.dicom_reader import sitk_series
from tests.judges import dciodvfy_errors


def write(folder: Path, volume: Volume, **changes: Any) -> list[Dataset]:
    settings: dict[str, Any] = {"sequence": Sequence.FLAIR, "series_uid": "2.25.7", "series_number": 7}
    return write_mr_series(volume, folder, **{**settings, "model": SR_MODEL, **changes})


def fine(source: Volume, values: np.ndarray | None = None) -> Volume:
    grid = source.grid.with_spacing((1.0, 1.0, 1.0))
    array = np.random.default_rng(0).uniform(0, 1800, grid.shape) if values is None else values
    return source.on_grid(array.astype(np.float32), grid)


@pytest.fixture
def source(tmp_path: Path) -> Volume:
    return source_volume(tmp_path / "source", "contrast")


@pytest.mark.parametrize(
    ("low", "high", "step"),
    [(0, 1800, 1.0), (-40, 1800, 1.0), (0, 1, 1 / 65535), (-3, 5, 8 / 65535), (0, 90000, 90000 / 65535)],
)
def test_simpleitk_reads_the_same_voxels_at_the_same_millimeters(
    tmp_path: Path, source: Volume, low: float, high: float, step: float
) -> None:
    volume = fine(source)
    volume = volume.with_array((low + (high - low) * volume.array / 1800).astype(np.float32))
    write(tmp_path / "sr", volume)
    image = sitk_series(tmp_path / "sr")
    read = volume.from_sitk(image)
    assert read.grid.same_as(volume.grid, tolerance=1e-3)
    assert np.abs(read.array.astype(np.float64) - volume.array).max() <= step / 2 * (1 + 1e-3)
    assert dciodvfy_errors(tmp_path / "sr" / "0001.dcm") == []


def test_values_that_integers_represent_are_stored_without_a_rescale() -> None:
    stored, slope, intercept = quantize(np.linspace(0, 1800, 50))
    assert (stored.dtype.name, slope, intercept) == ("uint16", 1.0, 0.0)
    stored, slope, intercept = quantize(np.linspace(-20, 1800, 50))
    assert (stored.dtype.name, int(stored.min()), slope, intercept) == ("int16", -20, 1.0, 0.0)


@pytest.mark.parametrize("values", [[0.0, 0.5, 1.0], [-1e-4, 1e-6, 3e-4], [0.0, 1e6, 3e7], [5.0, 5.0, 5.0]])
def test_other_values_keep_half_a_step_of_a_sixteenth_bit(values: list[float]) -> None:
    array = np.array(values)
    stored, slope, intercept = quantize(array)
    assert stored.dtype == np.uint16
    assert np.abs(stored * slope + intercept - array).max() <= slope / 2 * (1 + 1e-3)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        quantize(np.array([0.0, np.nan]))


def test_it_belongs_to_the_patient_study_and_frame_of_the_source(tmp_path: Path, source: Volume) -> None:
    count = len(write(tmp_path / "sr", fine(source)))
    written = [pydicom.dcmread(tmp_path / "sr" / f"{number:04d}.dcm") for number in range(1, count + 1)]
    origin = source.source_images[0]
    patient = ("PatientName", "PatientID", "PatientPosition")
    for ds in written:
        for keyword in (*patient, "StudyInstanceUID", "StudyDescription", "FrameOfReferenceUID"):
            assert ds[keyword].value == origin[keyword].value, keyword
        assert ds.SOPClassUID == MRImageStorage
        assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert ds.SeriesInstanceUID == "2.25.7"
    assert (str(written[0].PatientName), written[0].SpecificCharacterSet) == ("Müller^Jürgen", "ISO_IR 100")
    uids = {ds.SOPInstanceUID for ds in written}
    assert len(uids) == len(written)
    assert not uids & {ds.SOPInstanceUID for ds in source.source_images}


def test_it_says_that_an_ai_made_it_and_from_what(tmp_path: Path, source: Volume) -> None:
    ds = write(tmp_path / "sr", fine(source))[0]
    assert list(ds.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    assert ds.SeriesDescription == "FLAIR SR by AI - not for primary dx"
    assert "Not for primary diagnosis" in ds.ImageComments
    assert "generative neural network" in ds.DerivationDescription
    assert [item.CodeValue for item in ds.DerivationCodeSequence] == ["113085", "123110"]
    assert "Denoised" not in ds.DerivationDescription
    scanner, model = ds.ContributingEquipmentSequence
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Acquisition Equipment"
    assert (model.ManufacturerModelName, model.SoftwareVersions) == (SR_MODEL.name, SR_MODEL.version)
    assert model.DeviceSerialNumber == SR_MODEL.weights_sha256


def test_it_keeps_how_the_patient_was_scanned_and_drops_private_elements(tmp_path: Path, source: Volume) -> None:
    first = source.source_images[0]
    first.private_block(0x0029, "VENDOR", create=True).add_new(1, "LO", "secret")
    ds = write(tmp_path / "sr", fine(source))[0]
    assert (list(ds.ScanningSequence), ds.InversionTime) == (["GR", "IR"], 900)
    assert (ds.RepetitionTime, ds.EchoTime, ds.ContrastBolusAgent) == (500, 12, "Gadobutrol")
    assert [e for e in ds.iterall() if e.tag.is_private] == []


def test_it_says_what_else_was_done(tmp_path: Path, source: Volume) -> None:
    ds = write(tmp_path / "sr", fine(source), processing="Denoised first.")[0]
    network, further = ds.DerivationDescription.split(" Denoised first. ")
    assert "generative neural network" in network
    assert "Not for primary diagnosis" in further
    assert dciodvfy_errors(tmp_path / "sr" / "0001.dcm") == []


def test_each_slice_refers_to_the_measured_slices_beside_it(tmp_path: Path, source: Volume) -> None:
    written = write(tmp_path / "sr", fine(source))
    uids = [ds.SOPInstanceUID for ds in source.source_images]
    for k, ds in enumerate(written):
        # source slices are 2.5 mm apart; the outer faces of both grids coincide at their first slices
        height = (k + 0.5) / 2.5 - 0.5
        expected = [n for n in range(len(uids)) if abs(n - height) < 0.999]
        assert [uids.index(item.ReferencedSOPInstanceUID) for item in ds.SourceImageSequence] == expected
        assert 1 <= len(expected) <= 2


@pytest.mark.parametrize(
    ("angles", "start"),
    [(angles, 2) for angles in ((30, 20, 0), (30, -20, 0), (-30, 20, 0), (-30, -20, 0), (90, 0, 0))]
    + [((0, 0, 0), -40), ((0, 0, 0), 40)],
)
def test_each_slice_refers_to_the_measured_slices_that_it_cuts_or_nearly_touches(
    tmp_path: Path, source: Volume, angles: tuple[float, float, float], start: float
) -> None:
    """Slices at an angle to the measured ones: each voxel of a slice says which measured slices it lies near."""
    shape = (9, 13, 12)
    affine = dicom_builder.oblique_affine((1.0, 1.0, 1.0), angles, (0.0, 0.0, 0.0))
    affine[:3, :3] = source.grid.direction @ affine[:3, :3] * [1.3, 0.8, 1.1]
    affine[:3, 3] = source.affine[:3] @ [6.0, 4.0, start, 1.0]
    grid = Grid(shape, affine)
    written = write(tmp_path / "sr", source.on_grid(np.zeros(shape, np.float32), grid))
    uids = [ds.SOPInstanceUID for ds in source.source_images]
    points = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + grid.origin
    heights = (points - source.grid.origin) @ source.grid.direction[:, 2] / source.spacing[2]  # in measured slices
    for k, ds in enumerate(written):
        low, high = heights[:, :, k].min(), heights[:, :, k].max()
        near = [n for n in range(len(uids)) if low - 0.999 < n < high + 0.999]
        expected = near or [0 if high < 0 else len(uids) - 1]
        assert [uids.index(item.ReferencedSOPInstanceUID) for item in ds.SourceImageSequence] == expected


def test_an_enhanced_source_is_named_by_frame_and_its_timing_translated(tmp_path: Path) -> None:
    source = source_volume(tmp_path / "source", "enhanced")
    written = write(tmp_path / "sr", fine(source))
    references = [[item.ReferencedFrameNumber for item in ds.SourceImageSequence] for ds in written]
    assert references[0] == [1]
    assert references[3] == [1, 2]  # at 0.9 slices
    assert references[-1] == [12]
    assert {i.ReferencedSOPInstanceUID for ds in written for i in ds.SourceImageSequence} == {
        source.source_images[0].SOPInstanceUID
    }
    assert written[0].EchoTime == 87


def test_the_functional_groups_of_an_enhanced_source_become_classic_attributes(tmp_path: Path) -> None:
    source = source_volume(tmp_path / "source", "enhanced")
    ds = source.source_images[0]
    shared = ds.SharedFunctionalGroupsSequence[0]
    timing = {"RepetitionTime": 2300.0, "FlipAngle": 8.0, "EchoTrainLength": 176}
    modifier = {"InversionRecovery": "YES", "InversionTimes": [900.0], "Spoiling": "RF"}
    shared.MRTimingAndRelatedParametersSequence = [dicom_builder.dataset(**timing)]
    shared.MRModifierSequence = [dicom_builder.dataset(**modifier)]
    shared.MRAveragesSequence = [dicom_builder.dataset(NumberOfAverages=2.0)]
    ds.EchoPulseSequence = "GRADIENT"
    ds.ContrastBolusAgentSequence = [dicom_builder.dataset(CodeMeaning="Gadobutrol")]
    written = write(tmp_path / "sr", fine(source))[0]
    assert (written.RepetitionTime, written.FlipAngle, written.EchoTrainLength) == (2300, 8, 176)
    assert (list(written.ScanningSequence), written.SequenceVariant) == (["GR", "IR"], "SP")
    assert (written.InversionTime, written.ContrastBolusAgent) == (900, "Gadobutrol")
    assert (written.NumberOfAverages, "ContrastBolusAgentSequence" in written) == (2, False)
    assert dciodvfy_errors(tmp_path / "sr" / "0001.dcm") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [({"frame_of_reference_uid": None}, "generate it for the study"), ({"source_images": ()}, "patient and study")],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, source: Volume, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "sr", replace(fine(source), **change))
    assert not (tmp_path / "sr").exists()


def test_nothing_known_of_the_acquisition_is_still_valid(tmp_path: Path) -> None:
    timing = ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength")
    others = ("PatientPosition", "BodyPartExamined", "Manufacturer", "PositionReferenceIndicator")
    header: dict[str, Any] = dict.fromkeys(("ScanningSequence", "SequenceVariant", *timing, *others))
    array, affine = dicom_builder.phantom((8, 8, 6)), dicom_builder.axial_affine()
    paths = dicom_builder.write_mr_series(tmp_path / "source", array, affine, **header)
    datasets = tuple(pydicom.dcmread(path, stop_before_pixels=True) for path in paths)
    write(tmp_path / "sr", Volume(array.astype(np.float32), affine, dicom_builder.FRAME_UID, datasets))
    assert dciodvfy_errors(tmp_path / "sr" / "0001.dcm") == []


def test_a_volume_of_several_in_one_file_has_its_own_times_and_frames(tmp_path: Path) -> None:
    """As in PD and T2 of one enhanced file: the second volume is that of the second echo, frames 13 to 24."""
    array = dicom_builder.phantom()
    frames = [{"EchoTime": 15.0}, {"EchoTime": 90.0}]
    dicom_builder.write_enhanced_mr(
        tmp_path / "in" / "1.dcm", [array, array], dicom_builder.axial_affine(), frames=frames
    )
    (series,) = read_study(tmp_path / "in").series
    for stack, echo, first in zip(series.stacks, (15, 90), (1, 13), strict=True):
        volume = load_stack(stack)
        own = set(range(first, first + 12))
        images = write(tmp_path / str(echo), volume)
        assert {float(image.EchoTime) for image in images} == {echo}
        assert {item.ReferencedFrameNumber for image in images for item in image.SourceImageSequence} == own
        labels = volume.with_array(np.where(array > 1000, 4, 0).astype(np.uint8))
        seg = write_segmentation(
            labels,
            volume.source_images,
            tmp_path / f"{echo}.dcm",
            series_uid="2.25.9",
            series_number=9,
            description="test",
            model=SR_MODEL,
        )
        referenced = {
            item.ReferencedFrameNumber
            for group in seg.PerFrameFunctionalGroupsSequence
            for derivation in group.DerivationImageSequence
            for item in derivation.SourceImageSequence
        }
        assert referenced and referenced <= own


def test_a_volume_before_the_agent_in_one_file_with_that_after_it(tmp_path: Path) -> None:
    """The object names the agent and when the first frame was acquired; each frame tells its own."""
    array = dicom_builder.phantom()

    def add(ds: Dataset) -> None:
        ds.ContrastBolusAgentSequence = [dicom_builder.dataset(CodeMeaning="Gadobutrol")]
        for number, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
            given, minute = ("NO", 15) if number < 12 else ("YES", 45)
            group.FrameContentSequence[0].FrameAcquisitionDateTime = f"2020010210{minute}00"
            group.ContrastBolusUsageSequence = [dicom_builder.dataset(ContrastBolusAgentAdministered=given)]

    frames = [{"TemporalPositionIndex": 1}, {"TemporalPositionIndex": 2}]
    affine = dicom_builder.axial_affine()
    dicom_builder.write_enhanced_mr(tmp_path / "in" / "1.dcm", [array, array], affine, frames=frames, edit=add)
    (series,) = read_study(tmp_path / "in").series
    before, after = (write(tmp_path / str(n), load_stack(stack))[0] for n, stack in enumerate(series.stacks))
    assert [image.AcquisitionDateTime for image in (before, after)] == ["20200102101500", "20200102104500"]
    assert "ContrastBolusAgent" not in before and after.ContrastBolusAgent == "Gadobutrol"
