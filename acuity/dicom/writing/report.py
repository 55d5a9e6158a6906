"""Measurements of the tumor regions written as a TID 1500 Measurement Report."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
from highdicom import sr
from pydicom import Dataset
from pydicom.sr.codedict import codes

from acuity.anatomy import BRAIN, MORPHOLOGY, REGION_NAMES, REGION_TYPES, Region
from acuity.dicom.writing.model_info import MANUFACTURER, NOT_FOR_PRIMARY_DIAGNOSIS, ModelInfo
from acuity.dicom.writing.objects import object_arguments, save_object
from acuity.dicom.writing.segmentation import concept, tracking_uid
from acuity.dicom.writing.source import without_name
from acuity.imaging.measurement import RegionMeasurement

_MILLILITER = sr.CodedConcept("ml", "UCUM", "milliliter")
# Concept name of a container of the report's root (PS3.16 TID 1500).
_QUALITATIVE_EVALUATIONS = sr.CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")


def write_report(
    measurements: Sequence[RegionMeasurement],
    regions: hd.seg.Segmentation,
    source_images: Sequence[Dataset],
    path: Path,
    *,
    series_uid: str,
    series_number: int,
    description: str,
    model: ModelInfo,
    further_models: Sequence[ModelInfo] = (),
) -> sr.Comprehensive3DSR:
    """Write a Comprehensive 3D SR (PS3.3 A.35.13) after TID 1500, one TID 1411 group for each region.

    The observer is the device; the document is complete, unverified and preliminary: a radiologist's
    report replaces it. A comment says that it is not for primary diagnosis and names the models.
    A region without voxels is reported with a volume of 0 ml and no diameter.

    Parameters
    ----------
    measurements : volumes in ml, diameters in mm
    regions : what ``write_regions`` wrote; patient and study are taken from it
    source_images : the images of the one series that was segmented (headers suffice)
    path : the file to write; its folder is created if absent
    series_uid, series_number : of the new series
    description : Series Description, 64 characters at most
    model : what found the regions
    further_models : others that had a part in it, such as the super-resolution
    """
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(model)),
        procedure_reported=codes.LN.BrainMRI,
        imaging_measurements=[_group(m, regions, source_images, model) for m in measurements],
        title=codes.cid7021.ImagingMeasurementReport,
    )
    content[0].ContentSequence.append(_comments(model, further_models))
    equipment = [m.contributing_equipment("AI processing") for m in (model, *further_models)]
    report = sr.Comprehensive3DSR(
        evidence=[without_name(regions), *source_images],
        content=content[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        performed_procedure_codes=[codes.LN.BrainMRI],
        **object_arguments(series_uid, series_number, description, model.equipment, equipment),
    )
    save_object(report, regions, path)
    return report


def _observer(model: ModelInfo) -> sr.ObserverContext:
    """The model as TID 1004 device observer; its UID is the same wherever the same weights are used."""
    name = f"{MANUFACTURER}/{model.name}/{model.version}/{model.weights_sha256}"
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=hd.UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, name))),
        name=f"{model.name} {model.version}",
        manufacturer_name=MANUFACTURER,
        model_name=model.name,
        serial_number=model.weights_sha256,
    )
    return sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)


def _group(
    measurement: RegionMeasurement, regions: hd.seg.Segmentation, source_images: Sequence[Dataset], model: ModelInfo
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    region = measurement.region
    name = REGION_NAMES[region]
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(tracking_uid(regions.StudyInstanceUID, name), name),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=regions.SOPClassUID,
            sop_instance_uid=regions.SOPInstanceUID,
            segment_number=list(Region).index(region) + 1,
            source_series=sr.SourceSeriesForSegmentation(source_images[0].SeriesInstanceUID),
        ),
        finding_category=concept(MORPHOLOGY),
        finding_type=concept(REGION_TYPES[region]),
        finding_sites=[sr.FindingSite(anatomic_location=concept(BRAIN))],
        algorithm_id=sr.AlgorithmIdentification(
            name=model.name, version=model.version, parameters=[f"weights_sha256={model.weights_sha256}"]
        ),
        measurements=_measurements(measurement),
    )


def _measurements(measurement: RegionMeasurement) -> list[sr.Measurement]:
    lengths = (
        (codes.IBSI.Maximum3DDiameterOfAMesh, measurement.longest_diameter_mm),
        (codes.SCT.LongAxis, measurement.long_axis_mm),
        (codes.SCT.ShortAxis, measurement.short_axis_mm),
    )
    return [
        sr.Measurement(name=codes.SCT.Volume, value=round(measurement.volume_ml, 4), unit=_MILLILITER),
        *(
            sr.Measurement(name=name, value=round(value, 2), unit=codes.UCUM.Millimeter)
            for name, value in lengths
            if value is not None
        ),
    ]


def _comments(model: ModelInfo, further_models: Sequence[ModelInfo]) -> sr.ContainerContentItem:
    """The comments on the whole report: its limits and its models."""
    container = sr.ContainerContentItem(
        name=_QUALITATIVE_EVALUATIONS, relationship_type=sr.RelationshipTypeValues.CONTAINS
    )
    models = "; ".join(f"{m.name} {m.version} (weights SHA-256 {m.weights_sha256})" for m in (model, *further_models))
    container.ContentSequence = sr.ContentSequence(
        [
            sr.TextContentItem(name=codes.DCM.Comment, value=text, relationship_type=sr.RelationshipTypeValues.CONTAINS)
            for text in (NOT_FOR_PRIMARY_DIAGNOSIS, f"Models: {models}")
        ]
    )
    return container
