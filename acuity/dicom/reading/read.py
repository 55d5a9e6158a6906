"""Read a study: every series becomes one or more stacks, or is refused with its reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset

from acuity.dicom.reading.files import FolderContent, find_dicom
from acuity.dicom.reading.headers import quiet_pydicom, quiet_text
from acuity.dicom.reading.patient import Patients, check_one_patient
from acuity.dicom.reading.pixels import load_stack
from acuity.dicom.reading.series import read_series, refused
from acuity.dicom.reading.study import Series, Study
from acuity.errors import InconsistentHeadersError, NoDicomError, SeriesError, SeveralStudiesError, TooFewSlicesError

__all__ = ["load_stack", "raise_refusal", "read_study", "study_from_headers"]


def read_study(path: Path) -> Study:
    """Read the headers of a study and sort them into series and stacks.

    Parameters
    ----------
    path : a folder, searched with its subfolders; a folder with a DICOMDIR, or the DICOMDIR; or one file

    Returns
    -------
    Study, whose series are in the order of their numbers. A series that cannot be a volume is among them, with
    verdict "refused" and its reason: it does not stop the study. Files that are not DICOM do not stop it either.
    But a damaged DICOM file refuses the series it belongs to or, if it no longer tells, each series of its folder.
    Slices that are missing at an end of a series show only where a number of images is declared (see
    ``acuity.dicom.reading.geometry``).

    Raises
    ------
    InputNotFoundError : the path does not exist
    NoDicomError : there is no DICOM file
    SeveralStudiesError : there are several studies, or several patients
    """
    with quiet_pydicom():
        content = find_dicom(Path(path))
        if not content.datasets:
            raise NoDicomError(
                f"No DICOM file can be read; {len(content.damaged)} damaged and "
                f"{len(content.ignored) - len(content.damaged)} other files were found.",
                remedy="Give the folder of an exported study.",
            )
        _check_one_study(content.datasets)
        return _sort(_without_copies(content), content)


def study_from_headers(datasets: Iterable[Dataset]) -> Study:
    """Sort headers that are no files, such as an archive's metadata, into series and stacks.

    Parameters
    ----------
    datasets : all images of a study, without pixels; each has a ``filename``: where ``load_stack`` will find the image
        when it is asked for its pixels, in one folder for each series

    Returns
    -------
    Study, as ``read_study`` gives it; what only files can show, truncated pixels above all, shows in ``load_stack``.

    Raises
    ------
    NoDicomError : there is no header
    SeveralStudiesError : there are several studies, or several patients
    """
    headers = list(datasets)
    if not headers:
        raise NoDicomError("The study has no image.", remedy="Name a study that has some.")
    with quiet_pydicom():
        _check_one_study(headers)
        return _sort(headers, FolderContent(Path()))


def _sort(datasets: list[Dataset], content: FolderContent) -> Study:
    groups: dict[str, list[Dataset]] = {}
    for ds in datasets:
        groups.setdefault(str(ds.SeriesInstanceUID), []).append(ds)
    series = _refuse_robbed([read_series(uid, members, content) for uid, members in groups.items()])
    patients = Patients(datasets)
    series = [replace(s, warnings=(*s.warnings, *patients.warnings(s.datasets))) for s in series]
    series.sort(key=_series_order)
    return Study(str(datasets[0].StudyInstanceUID), tuple(series), tuple(content.ignored))


def raise_refusal(series: Series) -> None:
    """Raise the error that refused ``series``, with its code; do nothing if it was not refused."""
    if series.verdict == "ok":
        return
    kinds = {kind.code: kind for kind in SeriesError.__subclasses__()}
    raise kinds.get(series.code, SeriesError)(series.reason)


def _check_one_study(datasets: list[Dataset]) -> None:
    studies = {str(ds.StudyInstanceUID) for ds in datasets}
    if len(studies) > 1:
        raise SeveralStudiesError(
            f"The input holds {len(studies)} studies.",
            rule="One study is processed at a time, so that no two patients or dates are mixed.",
            remedy="Give the folder of one study.",
        )
    check_one_patient(datasets)


def _without_copies(content: FolderContent) -> list[Dataset]:
    """Leave out byte-for-byte copies of other files. Files that only share a UID are kept and judged."""
    by_uid: dict[str, list[Dataset]] = {}
    for ds in content.datasets:
        by_uid.setdefault(str(ds.get("SOPInstanceUID") or id(ds)), []).append(ds)
    kept = []
    for same in by_uid.values():
        files = [Path(ds.filename) for ds in same]
        sizes = Counter(file.stat().st_size for file in files)
        digests: set[bytes] = set()
        for ds, file in zip(same, files, strict=True):
            # A file that is damaged anyway may have any size, and takes long to read.
            comparable = sizes[file.stat().st_size] > 1 and id(ds) not in content.incomplete
            digest = _digest(file) if comparable else b""
            if digest and digest in digests:
                content.ignore(file, "a copy of another file")
            else:
                kept.append(ds)
            digests.add(digest)
    return kept


def _digest(file: Path) -> bytes:
    """The hash of a file, whose size may exceed the memory."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _refuse_robbed(series: list[Series]) -> list[Series]:
    """Refuse a series that lost a slice to another series UID through a corrupt header.

    Such a slice stands alone, beside the others, under their series number. Where it was at an end of the
    stack, nothing else tells.
    """
    strays = {_origin(s) for s in series if s.code == TooFewSlicesError.code}
    error = InconsistentHeadersError(
        "An image of the same series number and folder has another SeriesInstanceUID.",
        rule="All slices of a series share its UID.",
        remedy="A header is corrupt: send the series again, or remove that image if it does not belong to it.",
    )
    return [refused(s, error) if s.verdict == "ok" and _origin(s) in strays else s for s in series]


def _origin(series: Series) -> tuple[str, str, str]:
    """Folder, series number and description; two series share them only if one was torn from the other."""
    first = series.datasets[0]
    number = quiet_text(first, "SeriesNumber")
    return str(Path(first.filename).parent), number or series.series_uid, series.description


def _series_order(series: Series) -> tuple[float, str]:
    try:
        return float(quiet_text(series.datasets[0], "SeriesNumber")), series.series_uid
    except ValueError:
        return float("inf"), series.series_uid
