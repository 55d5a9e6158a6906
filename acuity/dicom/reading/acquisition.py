"""The acquisition of an MR image in the terms of classic MR (PS3.3 C.8.3.1), read from classic and enhanced images."""

from __future__ import annotations

from pydicom import Dataset

from acuity.dicom.reading.headers import Header

_ECHOES = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}
# Term of Sequence Variant: the attribute of enhanced MR that tells of it, and the value that says it was not used.
_VARIANTS = {
    "SK": ("SegmentedKSpaceTraversal", "SINGLE"),
    "MTC": ("MagnetizationTransfer", "NONE"),
    "SS": ("SteadyStatePulseSequence", "NONE"),
    "SP": ("Spoiling", "NONE"),
}


def acquisition_type(ds: Dataset) -> str:
    """MRAcquisitionType (0018,0023), such as "2D" or "3D"; "" if absent.

    Classic and enhanced images have it at the top (PS3.3 C.8.3.1, C.8.13.4), legacy converted ones among the
    attributes for which the conversion knew no place.
    """
    return Header(ds).text("MRAcquisitionType").upper()


def enhanced_sequence(header: Header) -> list[str]:
    """Terms of Scanning Sequence from the pulse sequence attributes of enhanced MR (PS3.3 C.8.13.4)."""
    terms = list(_ECHOES.get(header.text("EchoPulseSequence").upper(), []))
    flags = {"IR": "InversionRecovery", "EP": "EchoPlanarPulseSequence"}
    return terms + [term for term, keyword in flags.items() if header.text(keyword).upper() == "YES"]


def enhanced_variant(header: Header) -> list[str]:
    """Terms of Sequence Variant from the pulse sequence attributes of enhanced MR (PS3.3 C.8.13.4, C.8.13.5)."""
    values = {term: (header.text(keyword).upper(), unused) for term, (keyword, unused) in _VARIANTS.items()}
    return [term for term, (value, unused) in values.items() if value not in ("", unused)]


def scanning_sequence(header: Header) -> frozenset[str]:
    """Terms of Scanning Sequence; if it is absent, those of ``enhanced_sequence``."""
    return header.words("ScanningSequence") or frozenset(enhanced_sequence(header))


def sequence_variant(header: Header) -> frozenset[str]:
    """Terms of Sequence Variant and of ``enhanced_variant``, and TOF and PC for angiography."""
    angiography = {"TOF": ("TimeOfFlightContrast", "YES"), "PC": ("PhaseContrast", "YES")}
    terms = {term for term, (keyword, used) in angiography.items() if header.text(keyword).upper() == used}
    if header.text("AngioFlag").upper() == "Y":
        terms.add("TOF")
    return header.words("SequenceVariant") | terms | frozenset(enhanced_variant(header))
