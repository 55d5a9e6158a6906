"""Acquisition attributes that a derived image takes over from its source, in the terms of classic MR."""

from __future__ import annotations

from copy import deepcopy

from pydicom import Dataset

from acuity.dicom.reading.acquisition import enhanced_sequence, enhanced_variant
from acuity.dicom.reading.headers import Header, macro, quiet_number, values_of
from acuity.dicom.writing.source import ds_value

# MR Image, Contrast/Bolus and General Series attributes that describe how the patient was scanned
# (PS3.3 A.4); they stay true of an image derived from that scan.
# fmt: off
_ACQUISITION_KEYWORDS = (
    "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "SequenceName", "AngioFlag",
    "RepetitionTime", "EchoTime", "InversionTime", "TriggerTime", "NumberOfAverages", "ImagingFrequency",
    "ImagedNucleus", "EchoNumbers", "MagneticFieldStrength", "EchoTrainLength", "FlipAngle", "PixelBandwidth",
    "ReceiveCoilName", "TransmitCoilName", "VariableFlipAngleFlag", "InPlanePhaseEncodingDirection",
    "AcquisitionMatrix", "ContrastBolusAgent", "ContrastBolusAgentSequence", "ContrastBolusRoute",
    "ContrastBolusVolume", "ContrastBolusTotalDose", "ContrastBolusIngredient",
    "ContrastBolusIngredientConcentration", "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime",
    "AcquisitionDateTime", "ProtocolName", "PatientPosition", "BodyPartExamined", "LossyImageCompression",
    "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)
# fmt: on


def acquisition_attributes(source: Dataset, frame: int = 0) -> Dataset:
    """The classic MR attributes of the source's acquisition (PS3.3 C.8.3.1).

    Private elements are left behind. For an enhanced image the functional groups of ``frame`` are translated.
    Attributes that classic MR requires are present, empty where the standard allows and nothing is known.
    """
    result = Dataset()
    for keyword in _ACQUISITION_KEYWORDS:
        if keyword in source:
            result[keyword] = deepcopy(source[keyword])
    if "PerFrameFunctionalGroupsSequence" in source:
        _translate_enhanced(source, result, frame)
    for keyword in ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength"):
        if keyword not in result:
            setattr(result, keyword, None)
    if not result.get("ScanningSequence"):
        result.ScanningSequence = "RM"  # research mode: the only defined term for "none of the others"
    if not result.get("SequenceVariant"):
        result.SequenceVariant = "NONE"
    if "InversionTime" not in result and "IR" in values_of(result.ScanningSequence):
        result.InversionTime = None
    if not result.get("BodyPartExamined"):
        result.BodyPartExamined = "BRAIN"  # also says that Laterality, for paired body parts, does not apply
    if "PatientPosition" not in result:
        result.PatientPosition = None
    if any(keyword.startswith("ContrastBolus") for keyword in result.dir()) and "ContrastBolusAgent" not in result:
        result.ContrastBolusAgent = None
    result.remove_private_tags()
    return result


def _translate_enhanced(source: Dataset, result: Dataset, frame: int) -> None:
    """Enhanced MR (PS3.3 A.36) attributes in the terms of classic MR, from one frame."""
    timing = macro(source, "MRTimingAndRelatedParametersSequence", frame)
    echo = macro(source, "MREchoSequence", frame)
    modifier = macro(source, "MRModifierSequence", frame)
    averages = macro(source, "MRAveragesSequence", frame)
    translations = {
        "RepetitionTime": timing.get("RepetitionTime"),
        "FlipAngle": timing.get("FlipAngle"),
        "EchoTrainLength": timing.get("EchoTrainLength", timing.get("RFEchoTrainLength")),
        "EchoTime": echo.get("EffectiveEchoTime"),
        "InversionTime": next(iter(values_of(modifier.get("InversionTimes"))), None),
        "NumberOfAverages": averages.get("NumberOfAverages"),
    }
    for keyword, value in translations.items():
        if (finite := quiet_number(value)) is not None:
            setattr(result, keyword, int(finite) if keyword == "EchoTrainLength" else ds_value(finite))
    header = Header(source, frame)
    if moment := header.text("FrameAcquisitionDateTime"):
        result.AcquisitionDateTime = moment  # the object's own is that of its first frame
    result.ScanningSequence = enhanced_sequence(header) or None
    result.SequenceVariant = enhanced_variant(header) or None
    if header.text("ContrastBolusAgentAdministered").upper() == "NO":  # not yet, when this frame was acquired
        for keyword in [keyword for keyword in result.dir() if keyword.startswith("ContrastBolus")]:
            delattr(result, keyword)
    _translate_contrast(source, result)


def _translate_contrast(source: Dataset, result: Dataset) -> None:
    """Enhanced Contrast/Bolus (PS3.3 C.7.6.4b) as the classic module (C.7.6.4)."""
    if "ContrastBolusAgentSequence" not in result:
        return
    agents: list[Dataset] = list(result["ContrastBolusAgentSequence"].value)
    del result.ContrastBolusAgentSequence
    if agents:
        result.ContrastBolusAgent = str(agents[0].get("CodeMeaning", ""))[:64]
