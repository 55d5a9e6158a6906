"""The overview picture, written as a Secondary Capture image and as a PNG file."""

from __future__ import annotations

from collections.abc import Sequence as Items
from pathlib import Path

import highdicom as hd
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from acuity.anatomy import Sequence
from acuity.assessment import WHOLE, Assessment
from acuity.dicom.writing.model_info import NOT_FOR_PRIMARY_DIAGNOSIS, ModelInfo
from acuity.dicom.writing.objects import object_arguments, save_object
from acuity.dicom.writing.source import complete_source, without_name
from acuity.imaging.measurement import RegionMeasurement
from acuity.imaging.overview import draw_overview
from acuity.volume import Volume


def write_overview(
    original: Volume,
    super_resolved: Volume,
    labels: Volume,
    folder: Path,
    *,
    sequence: Sequence,
    measurements: Items[RegionMeasurement],
    series_uid: str,
    series_number: int,
    description: str,
    model: ModelInfo,
    further_models: Items[ModelInfo] = (),
    assessment: Assessment = WHOLE,
    unassessed: Volume | None = None,
) -> hd.sc.SCImage:
    """Write ``overview.dcm`` (Secondary Capture Image Storage, PS3.3 A.8.1, RGB) and ``overview.png``.

    Outlines and volumes are burnt into the pixels, but nothing that identifies the patient: that is what
    Burned In Annotation speaks of (PS3.3 C.7.6.1.1), so it is NO. The image lies in no one plane, so
    that Patient Orientation is empty.

    Parameters
    ----------
    original, super_resolved, labels, measurements, assessment, unassessed : see
        ``acuity.imaging.overview.draw_overview``; patient and study come from the first source image of ``original``
    folder : created if absent
    sequence : what the images show
    series_uid, series_number : of the new series
    description : Series Description, 64 characters at most
    model : what found the tumor
    further_models : others that had a part in it, such as the super-resolution
    """
    models = (model, *further_models)
    picture = draw_overview(
        original,
        super_resolved,
        labels,
        sequence=sequence,
        measurements=measurements,
        warning=NOT_FOR_PRIMARY_DIAGNOSIS,
        models=[f"{m.name} {m.version}" for m in models],
        assessment=assessment,
        unassessed=unassessed,
    )
    source = complete_source(original.source_images[0], original.frame_of_reference_uid or "")
    equipment = [m.contributing_equipment("AI processing") for m in models]
    image = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=without_name(source),
        pixel_array=picture,
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "P"),  # highdicom asks for one; emptied below
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **object_arguments(series_uid, series_number, description, model.equipment, equipment),
    )
    image.PatientOrientation = None
    image.BodyPartExamined = source.get("BodyPartExamined") or "BRAIN"
    image.BurnedInAnnotation = "NO"
    image.ImageComments = " ".join([NOT_FOR_PRIMARY_DIAGNOSIS, *assessment.limits()])
    save_object(image, source, folder / "overview.dcm")
    Image.fromarray(picture).save(folder / "overview.png")
    return image
