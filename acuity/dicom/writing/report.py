"""Measurements of the tumor regions written as a TID 1500 Measurement Report."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
from highdicom import sr
from pydicom import Dataset
from pydicom.sr.codedict import codes

from acuity.anatomy import BRAIN, MORPHOLOGY, REGION_NAMES, REGION_TYPES
from acuity.assessment import WHOLE, Assessment
from acuity.dicom.writing.model_info import MANUFACTURER, NOT_FOR_PRIMARY_DIAGNOSIS, ModelInfo
from acuity.dicom.writing.objects import object_arguments, save_object
from acuity.dicom.writing.segmentation import concept, tracking_uid
from acuity.dicom.writing.source import without_name
from acuity.imaging.measurement import RegionMeasurement

_MILLILITER = sr.CodedConcept("ml", "UCUM", "milliliter")
# Concept name of a container of the report's root (PS3.16 TID 1500).
_QUALITATIVE_EVALUATIONS = sr.CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")

# In the place of a volume that nobody can know: CID 42 has the codes for why a number is absent.
_NO_VOLUME = sr.QualitativeEvaluation(
    name=codes.SCT.Volume, value=sr.CodedConcept("114007", "DCM", "Measurement not attempted")
)


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
    assessment: Assessment = WHOLE,
) -> sr.Comprehensive3DSR:
    """Write a Comprehensive 3D SR (PS3.3 A.35.13) after TID 1500, one TID 1411 group for each region.

    The observer is the device; the document is complete, unverified and preliminary: a radiologist's
    report replaces it. A comment says that it is not for primary diagnosis and names the models.
    A region without voxels is reported with a volume of 0 ml and no diameter. Of a region that is not assessable the
    report says so by a code in the place of its volume, and why; where it is not drawn either, by a TID 1501 group.

    Parameters
    ----------
    measurements : volumes in ml, diameters in mm
    regions : what ``write_regions`` wrote, with ``assessment``; patient and study are taken from it
    source_images : the images of the one series that was segmented (headers suffice)
    path : the file to write; its folder is created if absent
    series_uid, series_number : of the new series
    description : Series Description, 64 characters at most
    model : what found the regions
    further_models : others that had a part in it, such as the super-resolution
    assessment : what the images could tell
    """
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(model)),
        procedure_reported=codes.LN.BrainMRI,
        imaging_measurements=[_group(m, regions, source_images, model, assessment) for m in measurements],
        title=codes.cid7021.ImagingMeasurementReport,
    )
    content[0].ContentSequence.append(_comments(model, further_models, assessment.note()))
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
    measurement: RegionMeasurement,
    regions: hd.seg.Segmentation,
    source_images: Sequence[Dataset],
    model: ModelInfo,
    assessment: Assessment,
) -> sr.MeasurementsAndQualitativeEvaluations | sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    region = measurement.region
    name = REGION_NAMES[region]
    common = {
        "tracking_identifier": sr.TrackingIdentifier(tracking_uid(regions.StudyInstanceUID, name), name),
        "finding_category": concept(MORPHOLOGY),
        "finding_type": concept(REGION_TYPES[region]),
        "finding_sites": [sr.FindingSite(anatomic_location=concept(BRAIN))],
        "algorithm_id": sr.AlgorithmIdentification(
            name=model.name, version=model.version, parameters=[f"weights_sha256={model.weights_sha256}"]
        ),
        "measurements": _measurements(measurement),
        "qualitative_evaluations": [_NO_VOLUME] if measurement.not_assessable else None,
    }
    group: sr.MeasurementsAndQualitativeEvaluations | sr.VolumetricROIMeasurementsAndQualitativeEvaluations
    if region in assessment.regions:
        segment = sr.ReferencedSegment(
            sop_class_uid=regions.SOPClassUID,
            sop_instance_uid=regions.SOPInstanceUID,
            segment_number=assessment.regions.index(region) + 1,
            source_series=sr.SourceSeriesForSegmentation(source_images[0].SeriesInstanceUID),
        )
        group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **common)
    else:
        group = sr.MeasurementsAndQualitativeEvaluations(**common)
    if measurement.not_assessable:
        group[0].ContentSequence.append(_comment(measurement.not_assessable))
    return group


def _measurements(measurement: RegionMeasurement) -> list[sr.Measurement]:
    lengths = (
        (codes.IBSI.Maximum3DDiameterOfAMesh, measurement.longest_diameter_mm),
        (codes.SCT.LongAxis, measurement.long_axis_mm),
        (codes.SCT.ShortAxis, measurement.short_axis_mm),
    )
    if measurement.volume_ml is None:
        return []
    return [
        sr.Measurement(name=codes.SCT.Volume, value=round(measurement.volume_ml, 4), unit=_MILLILITER),
        *(
            sr.Measurement(name=name, value=round(value, 2), unit=codes.UCUM.Millimeter)
            for name, value in lengths
            if value is not None
        ),
    ]


def _comments(model: ModelInfo, further_models: Sequence[ModelInfo], limits: str) -> sr.ContainerContentItem:
    """The comments on the whole report: its limits and its models."""
    container = sr.ContainerContentItem(
        name=_QUALITATIVE_EVALUATIONS, relationship_type=sr.RelationshipTypeValues.CONTAINS
    )
    models = "; ".join(f"{m.name} {m.version} (weights SHA-256 {m.weights_sha256})" for m in (model, *further_models))
    container.ContentSequence = sr.ContentSequence(
        [_comment(text) for text in (NOT_FOR_PRIMARY_DIAGNOSIS, limits, f"Models: {models}") if text]
    )
    return container


def _comment(text: str) -> sr.TextContentItem:
    return sr.TextContentItem(name=codes.DCM.Comment, value=text, relationship_type=sr.RelationshipTypeValues.CONTAINS)
