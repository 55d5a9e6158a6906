"""A volume derived from an MR series, written as classic MR images (one file a slice)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from acuity.anatomy import Sequence
from acuity.dicom.reading.slices import Slice, slices_of
from acuity.dicom.writing.acquisition import acquisition_attributes
from acuity.dicom.writing.model_info import MANUFACTURER, NOT_FOR_PRIMARY_DIAGNOSIS, ModelInfo
from acuity.dicom.writing.readable import fitting
from acuity.dicom.writing.source import (
    complete_source,
    ds_value,
    ds_values,
    nearest_slices,
    take_patient_and_study,
)
from acuity.volume import Volume

# Of General Equipment (PS3.3 C.7.5.1), what highdicom takes over for the scanner.
_EQUIPMENT = (
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
)

_LEVELS = 2**16  # of a 16 bit pixel
# Integers represent a range of at least so many units to 0.05 %, well under the noise of MR.
_ENOUGH_LEVELS = 1000


def write_mr_series(
    volume: Volume,
    folder: Path,
    *,
    sequence: Sequence,
    series_uid: str,
    series_number: int,
    model: ModelInfo,
    description: str | None = None,
    processing: str = "",
) -> list[Dataset]:
    """Write a super-resolved volume as a derived series of the source's study.

    The images are MR Image Storage (PS3.3 A.4), Explicit VR Little Endian, with new SOP Instance UIDs.
    Patient and study come from the volume's first source image, with its character set; private
    elements are dropped. Pixels are stored as ``quantize`` says. Position, orientation and spacing are
    exact to 1e-6 mm or better.

    Parameters
    ----------
    volume : float (I, J, K) with its affine in LPS mm, the frame of reference to write, and at least one
        source image (headers are enough), classic or enhanced
    folder : where the files 0001.dcm, 0002.dcm ... are written, in the order of k; created if absent
    sequence : what the images show, named in the description
    series_uid, series_number : of the new series
    model : what computed the volume
    description : Series Description, 64 characters at most; says by default that an AI made the series
    processing : a sentence on what else was done to the images, for their Derivation Description

    Returns
    -------
    The datasets as written, sorted along k.

    Raises
    ------
    ValueError
        When the volume has no frame of reference or no source images, or holds values that are not finite.
    """
    if volume.frame_of_reference_uid is None:
        raise ValueError("volume.frame_of_reference_uid is None; outputs need one: generate it for the study")
    if not volume.source_images:
        raise ValueError("volume.source_images is empty; patient and study cannot be known")
    stored, slope, intercept = quantize(volume.array)
    source = complete_source(volume.source_images[0], volume.frame_of_reference_uid)
    template = _template(volume, source, sequence, series_uid, series_number, model, description, processing)
    _set_pixel_module(template, stored, slope, intercept)
    slices = [source for ds in volume.source_images for source in slices_of(ds)]
    sources = slices if volume.source_frames is None else [slices[frame] for frame in volume.source_frames]
    folder.mkdir(parents=True, exist_ok=True)
    datasets: list[Dataset] = []
    for k in range(volume.shape[2]):
        image = _DerivedImage(source, template, instance_number=k + 1)
        _set_plane(image, volume, k)
        image.SourceImageSequence = [_source_item(s) for s in nearest_slices(_corners(volume, k), sources)]
        image.PixelData = np.ascontiguousarray(stored[:, :, k].T).tobytes()
        image.save_as(folder / f"{k + 1:04d}.dcm", enforce_file_format=True)
        datasets.append(image)
    return datasets


class _DerivedImage(hd.base.SOPClass):
    """One derived MR image: a template's attributes, with the patient and study of a source image."""

    def __init__(self, source: Dataset, template: Dataset, instance_number: int) -> None:
        super().__init__(
            study_instance_uid=source.StudyInstanceUID,
            series_instance_uid=template.SeriesInstanceUID,
            series_number=template.SeriesNumber,
            sop_instance_uid=hd.UID(),
            sop_class_uid=MRImageStorage,
            instance_number=instance_number,
            modality="MR",
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
        take_patient_and_study(self, source)
        self.update(template)


def quantize(array: NDArray) -> tuple[NDArray, float, float]:
    """Values of an image as 16 bit integers.

    MR Image Storage has no rescale (PS3.3 A.4.3) and not every viewer applies one, so values that
    integers represent well are just rounded. Others (say 0 to 1) are spread over 16 bits, with one slope
    and intercept for the whole series.

    Returns
    -------
    (stored, slope, intercept) : uint16, or int16 where rounded values are negative, of the array's shape;
        ``stored * slope + intercept`` is within half a slope of the array

    Raises
    ------
    ValueError
        When a value is not finite.
    """
    if not np.isfinite(array).all():
        raise ValueError("the image holds values that are not finite")
    low, high = float(array.min()), float(array.max())
    kind = np.uint16 if low > -0.5 else np.int16
    limits = np.iinfo(kind)
    if high - low >= _ENOUGH_LEVELS and limits.min <= low and high <= limits.max:
        return np.rint(array).astype(kind), 1.0, 0.0
    # The numbers that a Decimal String can carry, so that readers compute with the very same ones.
    slope = float(ds_value((high - low) / (_LEVELS - 1))) or 1.0
    intercept = float(ds_value(low))
    stored = np.rint((array.astype(np.float64) - intercept) / slope)
    return np.clip(stored, 0, _LEVELS - 1).astype(np.uint16), slope, intercept


def _template(
    volume: Volume,
    source: Dataset,
    sequence: Sequence,
    series_uid: str,
    series_number: int,
    model: ModelInfo,
    description: str | None,
    processing: str,
) -> Dataset:
    """The attributes that all images of the series share, apart from pixels."""
    now = datetime.now()
    ds = acquisition_attributes(source, volume.source_frames[0] if volume.source_frames else 0)
    ds.SeriesInstanceUID = str(series_uid)
    ds.SeriesNumber = series_number
    ds.SeriesDescription = description or f"{sequence.value} SR by AI - not for primary dx"
    ds.SeriesDate = ds.ContentDate = now.strftime("%Y%m%d")
    ds.SeriesTime = ds.ContentTime = now.strftime("%H%M%S")
    ds.Manufacturer = MANUFACTURER
    ds.ManufacturerModelName = model.name
    ds.SoftwareVersions = model.version
    ds.FrameOfReferenceUID = str(volume.frame_of_reference_uid)
    ds.PositionReferenceIndicator = source.get("PositionReferenceIndicator")
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    network = f"Super-resolved by a generative neural network ({model.name} {model.version})."
    ds.DerivationDescription = " ".join(filter(None, (network, processing, NOT_FOR_PRIMARY_DIAGNOSIS)))
    ds.DerivationCodeSequence = [
        CodedConcept.from_code(codes.DCM.SpatialResampling),
        CodedConcept.from_code(codes.cid7162.ArtificialIntelligence),
    ]
    equipment = [_scanner(source), model.contributing_equipment("Super-resolution of MR images")]
    ds.ContributingEquipmentSequence = [item for item in equipment if item is not None]
    ds.ImageComments = f"Super-resolved {sequence.value}. {NOT_FOR_PRIMARY_DIAGNOSIS}"
    ds.BurnedInAnnotation = "NO"
    if ds.get("LossyImageCompression") != "01":
        ds.LossyImageCompression = "00"
    return ds


def _scanner(source: Dataset) -> Dataset | None:
    """The scanner as contributing equipment; None where the source does not name its manufacturer."""
    scanner = Dataset()
    scanner.SOPClassUID = source.SOPClassUID
    for keyword in _EQUIPMENT:
        if (value := fitting(source, keyword)) is not None:
            setattr(scanner, keyword, value if keyword == "SoftwareVersions" or isinstance(value, str) else value[0])
    if "AcquisitionDateTime" in source:
        scanner.AcquisitionDateTime = source.AcquisitionDateTime
    return hd.ContributingEquipment.for_image_acquisition(scanner) if "Manufacturer" in scanner else None


def _set_pixel_module(ds: Dataset, stored: NDArray, slope: float, intercept: float) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[1], stored.shape[0]
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = int(stored.dtype == np.int16)
    if (slope, intercept) != (1.0, 0.0):
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = ds_value(slope), ds_value(intercept), "US"
    shown = stored[stored > stored.min()]  # without the background, which would narrow the window
    low, high = np.percentile(shown, (1, 99.5)) * slope + intercept if shown.size else (intercept, intercept)
    width = max(float(high - low), slope)
    ds.WindowCenter, ds.WindowWidth = (ds_value(float(f"{x:.6g}")) for x in ((low + high) / 2, width))
    if width < 1:  # which LINEAR, the default, does not permit (PS3.3 C.11.2.1.2)
        ds.VOILUTFunction = "LINEAR_EXACT"


def _set_plane(ds: Dataset, volume: Volume, k: int) -> None:
    """Image Plane Module (PS3.3 C.7.6.2) of slice k."""
    grid = volume.grid
    position = volume.affine @ np.array([0, 0, k, 1.0])
    ds.ImagePositionPatient = ds_values(position[:3])
    ds.ImageOrientationPatient = ds_values(grid.direction[:, :2].T.ravel().round(12))
    ds.PixelSpacing = ds_values(grid.spacing[[1, 0]])  # between rows, then between columns
    ds.SliceThickness = ds_value(grid.spacing[2])
    ds.SpacingBetweenSlices = ds_value(grid.spacing[2])
    normal = np.cross(grid.direction[:, 0], grid.direction[:, 1])
    ds.SliceLocation = ds_value(round(float(position[:3] @ normal), 6))


def _corners(volume: Volume, k: int) -> NDArray[np.float64]:
    """(4, 3): centers of the corner voxels of slice k in mm."""
    last_i, last_j = volume.shape[0] - 1, volume.shape[1] - 1
    indices = np.array([[0, 0, k, 1], [last_i, 0, k, 1], [0, last_j, k, 1], [last_i, last_j, k, 1]])
    return (indices @ volume.affine.T)[:, :3]


def _source_item(source: Slice) -> Dataset:
    """An item of the Source Image Sequence (PS3.3 C.7.6.1.1.4)."""
    item = Dataset()
    item.ReferencedSOPClassUID = source.dataset.SOPClassUID
    item.ReferencedSOPInstanceUID = source.dataset.SOPInstanceUID
    if source.frame is not None:
        item.ReferencedFrameNumber = source.frame + 1
    item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(codes.cid7202.SourceImageForImageProcessingOperation)]
    return item
