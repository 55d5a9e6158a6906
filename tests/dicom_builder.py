"""Small, seeded DICOM studies for tests: classic and enhanced MR series, sound or faulty on purpose.

Everything is deterministic: UIDs come from names, arrays from seeds. Nothing here imports the reader, so
that what is built is an independent statement of what DICOM PS3.3 says.

An array is indexed [i, j, k] = (column, row, slice) and an affine maps (i, j, k) to LPS mm, as in
``acuity.volume.Grid``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset, config, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    MRImageStorage,
    generate_uid,
)

from tests.jpeg_lossless import encode_jpeg_lossless

Array = NDArray[Any]
Edit = Callable[[Dataset, int], None]


def uid(*names: object) -> UID:
    """The same UID for the same names."""
    return generate_uid(entropy_srcs=["acuity-test", *(str(name) for name in names)])


STUDY_UID = uid("study")
FRAME_UID = uid("frame of reference")


def dataset(**header: Any) -> Dataset:
    """A dataset of these keywords and nothing else; values need not be valid."""
    ds = Dataset()
    with config.disable_value_validation():
        for keyword, value in header.items():
            setattr(ds, keyword, value)
    return ds


def oblique_affine(
    spacing: Sequence[float] = (0.8, 1.3, 2.5),
    angles: Sequence[float] = (20.0, -12.0, 33.0),
    origin: Sequence[float] = (-41.5, 17.25, -63.0),
) -> Array:
    """A right-handed (4, 4) affine in LPS mm: ``spacing`` along i, j, k, turned by ``angles`` degrees about x, y, z."""
    x, y, z = np.deg2rad(angles)
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rz @ ry @ rx * np.asarray(spacing)
    affine[:3, 3] = origin
    return affine


def axial_affine(spacing: Sequence[float] = (1.0, 1.0, 3.0), origin: Sequence[float] = (-12.0, -10.0, -18.0)) -> Array:
    """The (4, 4) affine of an axial series in LPS mm."""
    return oblique_affine(spacing, (0.0, 0.0, 0.0), origin)


def phantom(shape: tuple[int, int, int] = (24, 20, 12), seed: int = 0) -> Array:
    """An asymmetric uint16 volume [i, j, k], 0..2000: an ellipsoid off center, a small bright lesion, seeded noise."""
    rng = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    volume = np.where((i + 0.1) ** 2 / 0.7 + (j - 0.15) ** 2 / 0.5 + k**2 / 0.9 < 1, 800.0, 40.0)
    volume[(i - 0.35) ** 2 + (j + 0.2) ** 2 + (k - 0.3) ** 2 < 0.06] = 1700.0
    return np.clip(np.round(volume + rng.normal(0, 25, shape)), 0, 2000).astype(np.uint16)


def write_mr_series(
    folder: Path,
    array: Array,
    affine: Array,
    *,
    name: str = "T1",
    study_uid: str = STUDY_UID,
    series_uid: str | None = None,
    series_number: int = 1,
    first_instance: int = 1,
    slope: float | Sequence[float] | None = None,
    intercept: float | Sequence[float] | None = None,
    transfer_syntax: str = ExplicitVRLittleEndian,
    skip: Collection[int] = (),
    edit: Edit | None = None,
    prefix: str | None = None,
    encoded: Sequence[bytes] | None = None,
    **header: Any,
) -> list[Path]:
    """Write a classic MR series (PS3.3 A.4), one file a slice; return the paths in the order of k.

    Parameters
    ----------
    folder : made if absent
    array : (I, J, K), the true values; stored as uint16 (int16 if any is negative) after undoing the rescale
    affine : (4, 4), LPS mm
    name : names the series UID, the files and the description
    study_uid, series_uid, series_number : series_uid follows from the others if None
    first_instance : InstanceNumber of slice 0; give a second volume of the same series another range
    slope, intercept : RescaleSlope and RescaleIntercept, one for all slices or one each; None leaves the tag out
    transfer_syntax : any of DICOM's, see ``encode_pixels``
    skip : slices that are not written
    edit : called as ``edit(ds, k)`` on each dataset before it is written
    prefix : of the file names; ``name`` if None
    encoded : ready codestreams, one a slice, for a transfer syntax that cannot be encoded here
    **header : any DICOM keyword; a list or tuple of length K under a single-valued keyword is not spread: use
        ``edit`` for values that change from slice to slice. None removes the element.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = array.shape[2]
    slopes, intercepts = _spread(slope, count), _spread(intercept, count)
    paths = []
    for k in range(count):
        if k in skip:
            continue
        ds = mr_header(affine, array.shape, k)
        ds.StudyInstanceUID = study_uid
        ds.SeriesInstanceUID = series_uid or uid(study_uid, name, series_number)
        ds.SeriesNumber, ds.SeriesDescription = series_number, name
        ds.InstanceNumber = first_instance + k
        ds.SOPInstanceUID = uid(ds.SeriesInstanceUID, first_instance + k)
        values = array[:, :, k].astype(np.float64)
        if intercepts[k] is not None:
            ds.RescaleIntercept = repr(intercepts[k])[:16]
            values = values - float(ds.RescaleIntercept)
        if slopes[k] is not None:
            ds.RescaleSlope = repr(slopes[k])[:16]
            values = values / float(ds.RescaleSlope)
        put_pixels(ds, np.round(values).T, signed=bool(array.min() < 0))
        apply_header(ds, header)
        if edit is not None:
            edit(ds, k)
        path = folder / f"{prefix or name}_{first_instance + k:04d}.dcm"
        save(ds, path, transfer_syntax, None if encoded is None else [encoded[k]])
        paths.append(path)
    return paths


def mr_header(affine: Array, shape: Sequence[int], k: int) -> Dataset:
    """The header of slice ``k`` of a classic MR series: spin-echo T1, no pixels, no UIDs of study and series."""
    place = _plane(affine, k)
    ds = common_header()
    ds.SOPClassUID = MRImageStorage
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "NONE", ""
    ds.MRAcquisitionType = "2D"
    ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength = "500", "12", "1"
    ds.FlipAngle = "90"
    ds.AcquisitionDate, ds.AcquisitionTime, ds.AcquisitionNumber = "20200102", "101500", "1"
    apply_header(ds, place)
    ds.SpacingBetweenSlices = place["SliceThickness"]
    ds.SliceLocation = decimal(affine[2, 2] * k)
    ds.Rows, ds.Columns = int(shape[1]), int(shape[0])
    return ds


def _plane(affine: Array, k: int) -> dict[str, Any]:
    """Image Plane attributes of slice ``k`` (PS3.3 C.7.6.2)."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    return {
        "PixelSpacing": [decimal(spacing[1]), decimal(spacing[0])],
        "SliceThickness": decimal(spacing[2]),
        "ImageOrientationPatient": [decimal(x) for x in (*direction[:, 0], *direction[:, 1])],
        "ImagePositionPatient": [decimal(x) for x in (affine @ [0, 0, k, 1])[:3]],
    }


def common_header() -> Dataset:
    """What every MR object of the test studies says of patient, study and equipment (invented)."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = "Phantom^Acuity", "PHANTOM-1"
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20200102"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "101500"
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = "", "1", ""
    ds.Modality, ds.Manufacturer = "MR", "Acuity tests"
    ds.ManufacturerModelName, ds.DeviceSerialNumber, ds.SoftwareVersions = "phantom", "1", "1"
    ds.MagneticFieldStrength = "3"
    ds.BodyPartExamined, ds.PatientPosition = "BRAIN", "HFS"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = FRAME_UID, ""
    return ds


def write_enhanced_mr(
    path: Path,
    volumes: Sequence[Array],
    affine: Array,
    *,
    frames: Sequence[dict[str, Any]] | None = None,
    slopes: Sequence[float] | None = None,
    study_uid: str = STUDY_UID,
    series_uid: str | None = None,
    series_number: int = 1,
    name: str = "enhanced",
    order: Sequence[int] | None = None,
    skip: Collection[int] = (),
    transfer_syntax: str = ExplicitVRLittleEndian,
    edit: Callable[[Dataset], None] | None = None,
    **header: Any,
) -> Path:
    """Write one enhanced multi-frame MR object (PS3.3 A.36) that holds ``volumes`` at the same positions.

    Parameters
    ----------
    path : of the file; its folder is made
    volumes : (I, J, K) each, the true values
    affine : (4, 4), LPS mm
    study_uid, series_uid, series_number, name : as for ``write_mr_series``
    edit : called with the dataset before it is written
    frames : for each volume what tells it apart: EchoTime (ms), DiffusionBValue, TemporalPositionIndex, InversionTime
    slopes : rescale slope for each frame of the file before ``order`` (volume by volume, k rising); 1 if None
    order : a permutation of the frames; frames are written in this order
    skip : frames (numbers before ``order``) that are not written
    transfer_syntax : see ``encode_pixels``
    **header : keywords of the top level; None removes the element
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    count = volumes[0].shape[2]
    ds = common_header()
    ds.SOPClassUID = EnhancedMRImageStorage
    ds.StudyInstanceUID = study_uid
    ds.SeriesInstanceUID = series_uid or uid(study_uid, name, series_number)
    ds.SOPInstanceUID = uid(ds.SeriesInstanceUID, path.name)
    ds.SeriesNumber, ds.SeriesDescription, ds.InstanceNumber = series_number, name, 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    ds.AcquisitionDateTime = "20200102101500"
    ds.Rows, ds.Columns = int(volumes[0].shape[1]), int(volumes[0].shape[0])
    ds.SharedFunctionalGroupsSequence = [_shared_groups(affine)]
    wanted = [n for n in (order if order is not None else range(len(volumes) * count)) if n not in skip]
    items, pixels = [], []
    for number in wanted:
        v, k = divmod(number, count)
        slope = 1.0 if slopes is None else slopes[number]
        items.append(_frame_groups(affine, v, k, slope, {} if frames is None else frames[v]))
        pixels.append(np.round(volumes[v][:, :, k].T / slope))
    ds.PerFrameFunctionalGroupsSequence = items
    ds.NumberOfFrames = len(items)
    put_pixels(ds, np.stack(pixels), signed=bool(min(v.min() for v in volumes) < 0))
    apply_header(ds, header)
    if edit is not None:
        edit(ds)
    save(ds, path, transfer_syntax)
    return path


def _shared_groups(affine: Array) -> Dataset:
    place = _plane(affine, 0)
    measures = dataset(PixelSpacing=place["PixelSpacing"], SliceThickness=place["SliceThickness"])
    orientation = dataset(ImageOrientationPatient=place["ImageOrientationPatient"])
    return dataset(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])


def _frame_groups(affine: Array, v: int, k: int, slope: float, attributes: dict[str, Any]) -> Dataset:
    content = dataset(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1, v + 1])
    frame = dataset(
        FrameContentSequence=[content],
        PlanePositionSequence=[dataset(ImagePositionPatient=_plane(affine, k)["ImagePositionPatient"])],
        PixelValueTransformationSequence=[dataset(RescaleSlope=decimal(slope), RescaleIntercept="0", RescaleType="US")],
    )
    if "TemporalPositionIndex" in attributes:
        content.TemporalPositionIndex = attributes["TemporalPositionIndex"]
    if "EchoTime" in attributes:
        frame.MREchoSequence = [dataset(EffectiveEchoTime=float(attributes["EchoTime"]))]
    if "DiffusionBValue" in attributes:
        frame.MRDiffusionSequence = [dataset(DiffusionBValue=float(attributes["DiffusionBValue"]))]
    if "InversionTime" in attributes:
        frame.MRModifierSequence = [dataset(InversionTimes=[float(attributes["InversionTime"])])]
    return frame


def write_other(folder: Path, sop_class: str, modality: str, *, study_uid: str = STUDY_UID, **header: Any) -> Path:
    """Write one DICOM object without pixels (a report, a presentation state ...) as its own series."""
    folder.mkdir(parents=True, exist_ok=True)
    ds = common_header()
    ds.SOPClassUID, ds.Modality = sop_class, modality
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, uid(study_uid, modality)
    ds.SOPInstanceUID = uid(ds.SeriesInstanceUID, 1)
    ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription = 90, 1, modality
    apply_header(ds, header)
    path = folder / f"{modality}.dcm"
    save(ds, path, ExplicitVRLittleEndian)
    return path


def write_dicomdir(source: Path, target: Path) -> None:
    """Copy the DICOM files under ``source`` to ``target`` as a file-set with a DICOMDIR (PS3.10 section 8)."""
    file_set = FileSet()
    for path in sorted(source.rglob("*.dcm")):
        file_set.add(path)
    file_set.write(target)
    file_set._stage["t"].cleanup()  # else Python warns of it when the process ends


def put_pixels(ds: Dataset, rows_columns: Array, *, signed: bool = False) -> None:
    """Store (rows, columns) or (frames, rows, columns) of whole numbers as 16-bit monochrome pixels."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, int(signed)
    ds["PixelData"] = _pixel_element(rows_columns.astype("<i2" if signed else "<u2").tobytes())


def _pixel_element(data: bytes) -> Any:
    holder = Dataset()
    holder.add_new("PixelData", "OW", data)
    return holder["PixelData"]


def apply_header(ds: Dataset, header: dict[str, Any]) -> None:
    """Set each keyword to its value; None removes it."""
    for keyword, value in header.items():
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)


def save(ds: Dataset, path: Path, transfer_syntax: str, encoded: Sequence[bytes] | None = None) -> None:
    """Write ``ds``, whose pixels are still native little endian, with its pixels in ``transfer_syntax``."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    if "PixelData" in ds:
        encode_pixels(ds, transfer_syntax, encoded)
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    ds.save_as(path, enforce_file_format=True)


def encode_pixels(ds: Dataset, transfer_syntax: str, encoded: Sequence[bytes] | None = None) -> None:
    """Turn native little endian pixels into those of ``transfer_syntax``, in place.

    Native syntaxes, deflated and big endian included; RLE, JPEG-LS and JPEG 2000 (32 x 32 pixels or more)
    through pydicom; JPEG Lossless (.57 and .70) through ``tests.jpeg_lossless``; anything else from ready
    codestreams.
    """
    syntax = UID(transfer_syntax)
    if encoded is None and syntax in (JPEGLossless, JPEGLosslessSV1):
        predictor = 1 if syntax == JPEGLosslessSV1 else 4
        pixels = np.frombuffer(ds.PixelData, "<u2").reshape(-1, ds.Rows, ds.Columns)
        encoded = [encode_jpeg_lossless(frame, predictor) for frame in pixels]
    if encoded is not None:
        ds.PixelData = encapsulate(list(encoded))
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    elif not syntax.is_little_endian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    elif syntax.is_compressed and not syntax.is_deflated:
        ds.compress(syntax, generate_instance_uid=False)


def truncate(path: Path, keep: int | float) -> None:
    """Cut a file: keep that many bytes, or that share of it if ``keep`` is a float."""
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])


def corrupt_element(path: Path, keyword: str, text: bytes) -> None:
    """Overwrite the value of a text element in a little endian file with ``text``, padded to the same length."""
    element = dcmread(path, stop_before_pixels=True).get_item(Tag(keyword))
    assert isinstance(element, RawDataElement)
    data = bytearray(path.read_bytes())
    start, length = element.value_tell, element.length
    data[start : start + length] = text[:length].ljust(length)
    path.write_bytes(bytes(data))


def decimal(value: float) -> str:
    """A Decimal String (DS): at most 16 characters, as many digits as fit."""
    for digits in range(15, 5, -1):
        text = f"{float(value):.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"{value} does not fit a DS")


def _spread(value: float | Sequence[float] | None, count: int) -> list[float | None]:
    if value is None or isinstance(value, (int, float)):
        return [value] * count
    return [float(x) for x in value]
