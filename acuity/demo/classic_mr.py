"""Images written as classic MR series, as a scanner would: input for the demo and for tests, never results.

What Acuity derives from a patient's study is written by ``acuity.dicom``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from acuity.anatomy import Sequence
from acuity.imaging.forward_model import downsample_cubic
from acuity.volume import Grid, Volume

_STORED_MAX = 4095  # 12 bits, as most scanners store

_SPIN_ECHO: dict[str, Any] = {
    "ScanningSequence": "SE",
    "SequenceVariant": "SK",
    "MRAcquisitionType": "3D",
    "FlipAngle": 90,
}
_T1 = {**_SPIN_ECHO, "RepetitionTime": 550, "EchoTime": 11, "EchoTrainLength": 1}
_T2 = {**_SPIN_ECHO, "RepetitionTime": 4500, "EchoTime": 100, "EchoTrainLength": 16}
_FLAIR = {**_T2, "ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}
_AGENT = {"ContrastBolusAgent": "GADOLINIUM", "ContrastBolusRoute": "IV"}
# A typical brain tumor protocol at 1.5 T; times in ms.
PROTOCOL: dict[Sequence, dict[str, Any]] = {
    Sequence.T1: {**_T1, "SeriesNumber": 2, "SeriesDescription": "AX T1", "AcquisitionTime": "100200"},
    Sequence.T2: {**_T2, "SeriesNumber": 3, "SeriesDescription": "AX T2", "AcquisitionTime": "100600"},
    Sequence.FLAIR: {**_FLAIR, "SeriesNumber": 4, "SeriesDescription": "AX FLAIR", "AcquisitionTime": "101000"},
    Sequence.T1C: {**_T1, **_AGENT, "SeriesNumber": 5, "SeriesDescription": "AX T1 POST", "AcquisitionTime": "101500"},
}


def degrade(volume: Volume, spacing: tuple[float, float, float]) -> Volume:
    """The volume at a coarser resolution by antialiased cubic shrinking, negative overshoot cut off.

    Parameters
    ----------
    spacing : mm along i, j, k; none finer than the volume's

    Raises
    ------
    ValueError
        For a spacing finer than the volume's.
    """
    factors = np.asarray(spacing, dtype=np.float64) / volume.spacing
    if (factors < 1.0 - 1e-6).any():
        raise ValueError(f"spacing {spacing} mm is finer than the volume's {volume.spacing.tolist()} mm")
    array = np.maximum(downsample_cubic(volume.array, tuple(np.maximum(factors, 1.0))), 0.0)
    return volume.on_grid(array, Grid(array.shape, volume.grid.with_spacing(spacing).affine))


def write_study(
    volumes: Mapping[Sequence, Volume], folder: Path, *, identity: str, patient_name: str, description: str
) -> dict[Sequence, list[Path]]:
    """Several sequences as one study, a folder for each series, with the timing of ``PROTOCOL``.

    Parameters
    ----------
    volumes : float, not negative, in one patient space
    identity : names the study's UIDs: the same text gives the same UIDs
    patient_name : a made-up one, in DICOM's form (FAMILY^GIVEN); the patient ID is made up too

    Returns
    -------
    dict
        The files of each series, sorted along k.
    """
    study_uid, frame_uid = (generate_uid(entropy_srcs=[identity, kind]) for kind in ("study", "frame"))
    shared = {
        "PatientName": patient_name,
        "PatientID": f"DEMO{study_uid[-8:]}",
        "StudyInstanceUID": study_uid,
        "StudyID": "1",
        "StudyDescription": description,
        "FrameOfReferenceUID": frame_uid,
    }
    files = {}
    for sequence, volume in volumes.items():
        series_uid = generate_uid(entropy_srcs=[identity, sequence.value])
        tags = {**shared, **PROTOCOL[sequence], "SeriesInstanceUID": series_uid}
        name = f"{tags['SeriesNumber']:02d}_{sequence.value}"
        files[sequence] = write_volume_as_series(volume, folder / name, tags=tags)
    return files


def write_volume_as_series(volume: Volume, folder: Path, *, tags: Mapping[str, Any]) -> list[Path]:
    """One classic MR Image (PS3.3 A.4) a slice, Explicit VR Little Endian, 12 bits without rescaling.

    Parameters
    ----------
    volume : float, not negative; its largest value becomes 4095 and 0 stays 0
    folder : is created
    tags : attributes by keyword, over the defaults; StudyInstanceUID, SeriesInstanceUID and SeriesNumber
        at least. None removes one. FrameOfReferenceUID is the volume's unless given.

    Returns
    -------
    list of Path
        The files, sorted along k.

    Raises
    ------
    ValueError
        For values that are negative or not finite.
    """
    top = float(volume.array.max())
    if not np.isfinite(volume.array).all() or volume.array.min() < 0.0:
        raise ValueError("an MR magnitude image has no negative and no infinite values")
    stored = np.round(volume.array * (_STORED_MAX / top if top > 0 else 1.0)).astype(np.uint16)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(volume.shape[2]):
        ds = _image(volume, k, stored[:, :, k], tags)
        paths.append(folder / f"IM{k + 1:04d}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def _image(volume: Volume, k: int, stored: np.ndarray, tags: Mapping[str, Any]) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MRImageStorage
    uid = generate_uid(entropy_srcs=[tags["SeriesInstanceUID"], str(k)])
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid
    _general(ds)
    _geometry(ds, volume, k)
    ds.InstanceNumber = k + 1
    ds.FrameOfReferenceUID = volume.frame_of_reference_uid or generate_uid(entropy_srcs=[tags["StudyInstanceUID"]])
    _pixels(ds, stored)
    for keyword, value in tags.items():
        if value is None and keyword in ds:
            delattr(ds, keyword)
        elif value is not None:
            setattr(ds, keyword, value)
    ds.ContentTime = ds.SeriesTime = ds.AcquisitionTime
    return ds


def _general(ds: Dataset) -> None:
    """Attributes of types 1 and 2 that say nothing about the image (PS3.3 C.7.1 to C.7.5)."""
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "PHANTOM^DEMO"
    ds.PatientID = "DEMO"
    ds.PatientBirthDate = ds.PatientSex = ds.ReferringPhysicianName = ds.AccessionNumber = ds.StudyID = ""
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200101"
    ds.StudyTime = ds.AcquisitionTime = "100000"
    ds.Modality = "MR"
    ds.BodyPartExamined = "BRAIN"
    ds.PatientPosition = "HFS"
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = "Synthetic"
    ds.ManufacturerModelName = "Phantom"
    ds.SoftwareVersions = "1"
    ds.DeviceSerialNumber = "1"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.ScanOptions = ""
    ds.MagneticFieldStrength = "1.5"


def _geometry(ds: Dataset, volume: Volume, k: int) -> None:
    """Image Plane Module (PS3.3 C.7.6.2)."""
    grid = volume.grid
    row, column = grid.direction[:, 0], grid.direction[:, 1]
    ds.ImageOrientationPatient = [_ds(x) for x in (*row, *column)]
    ds.ImagePositionPatient = [_ds(x) for x in grid.origin + grid.affine[:3, 2] * k]
    ds.PixelSpacing = [_ds(grid.spacing[1]), _ds(grid.spacing[0])]  # between rows first, then between columns
    ds.SliceThickness = ds.SpacingBetweenSlices = _ds(grid.spacing[2])


def _pixels(ds: Dataset, stored: np.ndarray) -> None:
    """Image Pixel Module (PS3.3 C.7.6.3)."""
    ds.Columns, ds.Rows = stored.shape
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = np.ascontiguousarray(stored.T).astype("<u2").tobytes()


def _ds(value: float) -> DSfloat:
    # Rounding keeps -0.0 and 1e-17 out of headers.
    return DSfloat(round(float(value), 9) + 0.0, auto_format=True)
