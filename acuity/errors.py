"""The exceptions of Acuity: one small tree, each leaf with a stable code and a process exit code.

A refusal states the fault, the rule and the remedy. ``code`` goes into ``result.json`` and ``acuity inspect --json``,
and the process ends with ``exit_code``. Both are public interface and never change their meaning. 0 is success, 1 an
unexpected failure and 2 a wrong command line (argparse's own), so refusals begin at 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class AcuityError(Exception):
    """A refusal or failure that Acuity foresaw.

    Parameters
    ----------
    found : the fault, with its value; never a patient identifier
    rule : the rule that it breaks
    remedy : advice to the user
    """

    code = "error"
    exit_code = 1

    def __init__(self, found: str, *, rule: str = "", remedy: str = "") -> None:
        self.found = found
        self.rule = rule
        self.remedy = remedy
        super().__init__(" ".join(part for part in (found, rule, remedy) if part))


class InputError(AcuityError):
    """The study as a whole cannot be read (exit codes 10 to 19)."""

    code, exit_code = "input", 10


class InputNotFoundError(InputError):
    """The input path does not exist."""

    code, exit_code = "input-not-found", 10


class NoDicomError(InputError):
    """The input holds no DICOM image that can be read."""

    code, exit_code = "no-dicom", 11


class SeveralStudiesError(InputError):
    """The input holds more than one study."""

    code, exit_code = "several-studies", 12


class ArchiveError(InputError):
    """The archive (PACS) cannot be reached, refuses, or does not answer as DICOMweb demands."""

    code, exit_code = "archive", 13


class SeriesError(AcuityError):
    """One series cannot become a volume (exit codes 20 to 29)."""

    code, exit_code = "series", 20


class NoGeometryError(SeriesError):
    """Position, orientation or pixel spacing is absent."""

    code, exit_code = "no-geometry", 20


class MixedOrientationsError(SeriesError):
    """Slices of one volume do not share one orientation."""

    code, exit_code = "mixed-orientations", 21


class MissingSliceError(SeriesError):
    """The distances between neighboring slices differ: one or more slices are missing."""

    code, exit_code = "missing-slice", 22


class DuplicatePositionsError(SeriesError):
    """Several slices at one position that no echo, time or b-value tells apart."""

    code, exit_code = "duplicate-positions", 23


class InconsistentHeadersError(SeriesError):
    """Slices of one volume differ in size, spacing or another attribute that must agree, or a header is corrupt."""

    code, exit_code = "inconsistent-headers", 24


class GantryTiltError(SeriesError):
    """Slice positions are sheared against the slice normal."""

    code, exit_code = "gantry-tilt", 25


class UnreadablePixelsError(SeriesError):
    """Pixel data is truncated or cannot be decoded."""

    code, exit_code = "unreadable-pixels", 26


class UnsupportedSeriesError(SeriesError):
    """Not an MR image series that Acuity reads (another modality or SOP class, color)."""

    code, exit_code = "unsupported-series", 27


class TooFewSlicesError(SeriesError):
    """Too few slices to be a volume."""

    code, exit_code = "too-few-slices", 28


class SelectionError(AcuityError):
    """The four sequences cannot be chosen (exit codes 30 to 39)."""

    code, exit_code = "selection", 30


class MissingSequenceError(SelectionError):
    """T1, T1c, T2 or FLAIR was not found in the study."""

    code, exit_code = "missing-sequence", 30
    missing: tuple[str, ...] = ()  # their names, where the study's other sequences are there


class AmbiguousSequenceError(SelectionError):
    """Several series fit one sequence and nothing tells them apart."""

    code, exit_code = "ambiguous-sequence", 31


class RulesError(SelectionError):
    """A rule file or a series named by the user is not valid."""

    code, exit_code = "invalid-rules", 32


class PreparationError(AcuityError):
    """Registration, brain extraction or intensity normalization failed (exit codes 40 to 49)."""

    code, exit_code = "preparation", 40


class RegistrationError(PreparationError):
    """Two sequences could not be aligned."""

    code, exit_code = "registration-failed", 40


class BrainExtractionError(PreparationError):
    """No plausible brain was found."""

    code, exit_code = "brain-not-found", 41


class PartialCoverageError(PreparationError):
    """A sequence shows only a part of the brain."""

    code, exit_code = "partial-coverage", 42


class ModelError(AcuityError):
    """A bundle is absent or not valid (exit codes 50 to 59)."""

    code, exit_code = "model", 50


class BundleNotFoundError(ModelError):
    """A released bundle was not found in the models folder."""

    code, exit_code = "bundle-not-found", 50


class BundleError(ModelError):
    """A bundle's configuration or weights cannot be used."""

    code, exit_code = "invalid-bundle", 51


class OutputError(AcuityError):
    """The output folder cannot be written to (exit codes 60 to 69)."""

    code, exit_code = "output", 60


class DataError(AcuityError):
    """Training or evaluation data is absent or not as its format requires (exit codes 70 to 79)."""

    code, exit_code = "data", 70


@contextmanager
def any_as_data_error(found: str, *, rule: str, remedy: str) -> Iterator[None]:
    """Raise DataError instead of any other exception; its text is the clause ``found`` and the exception's type.

    For files of weights: on foreign bytes torch's restricted unpickler raises anything, even a KeyError.
    """
    try:
        yield
    except Exception as error:
        raise DataError(f"{found} ({type(error).__name__}).", rule=rule, remedy=remedy) from error


class WorkbenchError(AcuityError):
    """The workbench's servers cannot be set up, started or reached (exit codes 80 to 89)."""

    code, exit_code = "workbench", 80
