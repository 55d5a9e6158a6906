"""A DICOM study as a run and ``acuity inspect`` read it, and the series that a user names in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from acuity.anatomy import Sequence
from acuity.dicom.reading.halves import with_halves_joined
from acuity.dicom.reading.read import read_study
from acuity.dicom.reading.scan import scan_of
from acuity.dicom.reading.study import Series, Study
from acuity.errors import NoDicomError, RulesError
from acuity.pipeline.nifti_files import nifti_files


def read_dicom(path: Path) -> Study:
    """As ``acuity.dicom.reading.read.read_study``, with halves joined; for NIfTI alone the error says who reads it."""
    try:
        return with_halves_joined(read_study(path))
    except NoDicomError as error:
        count = len(nifti_files(path))
        if not count:
            raise
        raise NoDicomError(
            f"There is no DICOM file, but {count} NIfTI file{'s' if count > 1 else ''}.",
            rule="This reads DICOM alone.",
            remedy="`acuity run` takes NIfTI: give it the folder of one case, or files by --t1, --t1c, --t2, --flair.",
        ) from error


def series_uids(study: Study, named: Mapping[Sequence, str]) -> dict[Sequence, str]:
    """The SeriesInstanceUIDs of series that the user names by UID or by "#" and Series Number.

    Raises
    ------
    RulesError : not one series has the number
    """
    uids = {}
    for sequence, name in named.items():
        uids[sequence] = name
        if name.startswith("#"):
            found = [s.series_uid for s in study.series if name == f"#{series_number(s)}"]
            if len(found) != 1:
                raise RulesError(
                    f"{sequence.value} is named by {name}, and {len(found)} series of the study have that number.",
                    rule="A name matches one series.",
                    remedy="Take the number or the UID from `acuity inspect STUDY`.",
                )
            (uids[sequence],) = found
    return uids


def series_number(series: Series) -> int:
    """Series Number; 0 where there is none."""
    return scan_of(series, series.stacks[0] if series.stacks else None).number
