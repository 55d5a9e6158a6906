"""Read a study: every series becomes one or more stacks, or is refused with its reason."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage

from acuity.dicom.reading.files import MR_CLASSES, DamagedFile, FolderContent, find_dicom
from acuity.dicom.reading.geometry import build_stacks
from acuity.dicom.reading.headers import number, quiet_text
from acuity.dicom.reading.pixels import load_stack
from acuity.dicom.reading.slices import Slice, classic_slice, frame_slices, rescale
from acuity.dicom.reading.study import Series, Stack, Study
from acuity.errors import (
    GantryTiltError,
    InconsistentHeadersError,
    MissingSliceError,
    NoDicomError,
    NoGeometryError,
    SeriesError,
    SeveralStudiesError,
    TooFewSlicesError,
    UnreadablePixelsError,
    UnsupportedSeriesError,
)

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
    with _quiet_pydicom():
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
    with _quiet_pydicom():
        _check_one_study(headers)
        return _sort(headers, FolderContent(Path()))


@contextmanager
def _quiet_pydicom() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on values quote them, and values identify patients
        yield


def _sort(datasets: list[Dataset], content: FolderContent) -> Study:
    groups: dict[str, list[Dataset]] = {}
    for ds in datasets:
        groups.setdefault(str(ds.SeriesInstanceUID), []).append(ds)
    series = _refuse_robbed([_read_series(uid, members, content) for uid, members in groups.items()])
    series.sort(key=_series_order)
    return Study(str(datasets[0].StudyInstanceUID), tuple(series), tuple(content.ignored))


def raise_refusal(series: Series) -> None:
    """Raise the error that refused ``series``, with its code; do nothing if it was not refused."""
    if series.verdict == "ok":
        return
    kinds = {kind.code: kind for kind in SeriesError.__subclasses__()}
    raise kinds.get(series.code, SeriesError)(series.reason)


def _check_one_study(datasets: Iterable[Dataset]) -> None:
    studies = {str(ds.StudyInstanceUID) for ds in datasets}
    if len(studies) > 1:
        raise SeveralStudiesError(
            f"The input holds {len(studies)} studies.",
            rule="One study is processed at a time, so that no two patients or dates are mixed.",
            remedy="Give the folder of one study.",
        )
    patients = {quiet_text(ds, "PatientID") for ds in datasets} - {""}
    if len(patients) > 1:
        raise SeveralStudiesError(
            f"The input holds one study UID with {len(patients)} patient IDs.",
            rule="A study belongs to one patient.",
            remedy="Have the archive's administrator put the study right.",
        )


def _without_copies(content: FolderContent) -> list[Dataset]:
    """Leave out byte-for-byte copies of other files. Files that only share a UID are kept and judged."""
    by_uid: dict[str, list[Dataset]] = {}
    for ds in content.datasets:
        by_uid.setdefault(str(ds.get("SOPInstanceUID") or id(ds)), []).append(ds)
    kept = []
    for same in by_uid.values():
        digests: set[bytes] = set()
        for ds in same:
            file = Path(ds.filename)
            digest = hashlib.sha256(file.read_bytes()).digest() if len(same) > 1 else b""
            if digest in digests:
                content.ignore(file, "a copy of another file")
            else:
                kept.append(ds)
            digests.add(digest)
    return kept


def _read_series(uid: str, datasets: list[Dataset], content: FolderContent) -> Series:
    first = datasets[0]
    series = Series(
        series_uid=uid,
        description=quiet_text(first, "SeriesDescription") or quiet_text(first, "ProtocolName"),
        modality=quiet_text(first, "Modality"),
        verdict="ok",
        code="ok",
        reason="",
        datasets=tuple(datasets),
    )
    try:
        _check_class(datasets)
        _check_whole(uid, datasets, content)
        stacks, notes = _stacks(datasets)
    except SeriesError as error:
        return _refused(series, error)
    return replace(series, reason=_describe(stacks), stacks=tuple(stacks), warnings=tuple(notes))


def _refused(series: Series, error: SeriesError) -> Series:
    return replace(series, verdict="refused", code=error.code, reason=str(error), exit_code=error.exit_code, stacks=())


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
    return [_refused(s, error) if s.verdict == "ok" and _origin(s) in strays else s for s in series]


def _origin(series: Series) -> tuple[str, str, str]:
    """Folder, series number and description; two series share them only if one was torn from the other."""
    first = series.datasets[0]
    number = quiet_text(first, "SeriesNumber")
    return str(Path(first.filename).parent), number or series.series_uid, series.description


def _check_class(datasets: list[Dataset]) -> None:
    """Refuse all but grayscale MR images of the classes that Acuity reads."""
    for ds in datasets:
        if ds.SOPClassUID not in MR_CLASSES or quiet_text(ds, "Modality") not in ("MR", ""):
            refusal = UnsupportedSeriesError(
                f"{quiet_text(ds, 'Modality') or 'Unknown modality'}, {ds.SOPClassUID.name}.",
                rule="Acuity reads MR Image, Enhanced MR Image and Legacy Converted Enhanced MR Image.",
            )
            raise _fault_of_ct(datasets) or refusal
        if (
            number(ds, "SamplesPerPixel") not in (None, 1)
            or quiet_text(ds, "PhotometricInterpretation") == "PALETTE COLOR"
        ):
            raise UnsupportedSeriesError("A color image.", rule="Acuity reads grayscale images.")
        if "ModalityLUTSequence" in ds:
            raise UnsupportedSeriesError(
                "Values are rescaled by a table.", rule="Acuity reads images with a linear rescale."
            )
        if ds.SOPClassUID == MRImageStorage and (number(ds, "NumberOfFrames") or 1) > 1:
            raise UnsupportedSeriesError(
                "Several frames in an MR Image.", rule="This class has one frame; Enhanced MR Image has several."
            )
    if len({ds.SOPClassUID for ds in datasets}) > 1:
        raise UnsupportedSeriesError("Single-frame and multi-frame images in one series.", rule="One class a series.")


def _fault_of_ct(datasets: list[Dataset]) -> SeriesError | None:
    """The fault of a CT series that misses slices or is tilted: it is reported rather than the modality."""
    if any(ds.SOPClassUID != CTImageStorage for ds in datasets):
        return None
    try:
        _stacks(datasets)
    except (MissingSliceError, GantryTiltError) as fault:
        rule = f"{fault.rule} Besides, this is CT, and Acuity reads MR."
        return type(fault)(fault.found, rule=rule, remedy=fault.remedy)
    except SeriesError:
        pass
    return None


def _check_whole(uid: str, datasets: list[Dataset], content: FolderContent) -> None:
    """Refuse a series with damaged files, or with damaged files in its folder that may belong to it."""
    folders = {Path(ds.filename).parent for ds in datasets}
    damaged = [file for file in content.damaged if _concerns(file, uid, folders)]
    if damaged:
        raise InconsistentHeadersError(
            f"{len(damaged)} damaged file{'s' if len(damaged) > 1 else ''} of this series or of its folder: "
            f"{damaged[0].reason}.",
            rule="Every file of a series must be readable.",
            remedy="Send the study again, or remove the files if they do not belong to it.",
        )
    incomplete = sum(id(ds) in content.incomplete for ds in datasets)
    if incomplete:
        raise UnreadablePixelsError(
            f"The pixel data of {incomplete} of {len(datasets)} files is absent or cut short.",
            rule="Every slice must have complete pixel data.",
            remedy="Send the series again from the archive.",
        )


def _concerns(file: DamagedFile, uid: str, folders: set[Path]) -> bool:
    return file.series_uid == uid if file.series_uid else file.folder in folders


def _stacks(datasets: list[Dataset]) -> tuple[list[Stack], list[str]]:
    slices = _slices(datasets)
    stacks, notes = build_stacks(slices)
    scaled = {rescale(s.dataset, s.frame) is None for s in slices}
    if len(scaled) > 1:
        raise InconsistentHeadersError(
            "Some slices have a RescaleSlope or RescaleIntercept, and others have none.",
            rule="The rescale must be given for all slices of a series or for none.",
            remedy="A header is corrupt: export the series again.",
        )
    if any(stack.frame_of_reference_uid is None for stack in stacks):
        notes.append(
            "FrameOfReferenceUID is absent: the series' own geometry is complete, but only registration can tell "
            "how it lies to other series."
        )
    return stacks, notes


def _slices(datasets: list[Dataset]) -> list[Slice]:
    """Every slice and frame of a series. Refuses slices without geometry."""
    slices: list[Slice] = []
    bare: list[NoGeometryError] = []
    for ds in datasets:
        try:
            slices += frame_slices(ds) if ds.SOPClassUID in MR_CLASSES[1:] else [classic_slice(ds)]
        except NoGeometryError as error:
            bare.append(error)
    if bare and slices:
        raise InconsistentHeadersError(
            f"{len(bare)} of {len(datasets)} files lack what the others have: {bare[0].found}",
            rule="Every slice must state its position, orientation and pixel spacing.",
            remedy="A header is corrupt: export the series again.",
        )
    if bare:
        raise NoGeometryError(
            bare[0].found,
            rule="Every slice must state its position, orientation and pixel spacing.",
            remedy="Export the original images, not screenshots or converted copies.",
        )
    return slices


def _describe(stacks: list[Stack]) -> str:
    shape, spacing = stacks[0].grid.shape, stacks[0].grid.spacing
    count = "1 volume" if len(stacks) == 1 else f"{len(stacks)} volumes"
    return (
        f"{count} of {shape[0]} x {shape[1]} x {shape[2]} voxels, "
        f"{spacing[0]:.4g} x {spacing[1]:.4g} x {spacing[2]:.4g} mm."
    )


def _series_order(series: Series) -> tuple[float, str]:
    try:
        return float(quiet_text(series.datasets[0], "SeriesNumber")), series.series_uid
    except ValueError:
        return float("inf"), series.series_uid
