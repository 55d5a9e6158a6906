"""Read one series: its slices become stacks, or it is refused with a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue
from pydicom.uid import UID, CTImageStorage, MRImageStorage

from acuity.console import printable
from acuity.dicom.reading.bits import check_bits
from acuity.dicom.reading.files import MR_CLASSES, DamagedFile, FolderContent
from acuity.dicom.reading.geometry import build_stacks
from acuity.dicom.reading.headers import number, quiet_text, read_value, uid_text
from acuity.dicom.reading.slices import Slice, rescale, slices_of
from acuity.dicom.reading.study import Series, Stack
from acuity.errors import (
    GantryTiltError,
    InconsistentHeadersError,
    MissingSliceError,
    NoGeometryError,
    SeriesError,
    UnreadablePixelsError,
    UnsupportedSeriesError,
)

# Who was examined, and when: every output takes these over, so that a corrupt one refuses the series.
_IDENTITY = ("PatientName", "PatientID", "AccessionNumber", "StudyID")

_GEOMETRY_RULE = "Every slice must state its position, orientation and pixel spacing."


def read_series(uid: str, datasets: list[Dataset], content: FolderContent) -> Series:
    """Read the headers of one series: its stacks, or why it is refused.

    Parameters
    ----------
    uid : SeriesInstanceUID of all ``datasets``
    content : the study's folder, with its damaged and incomplete files
    """
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
        _check_identity(datasets)
        stacks, notes = _stacks(datasets)
        _check_pixels(datasets, content)
    except SeriesError as error:
        return refused(series, error)
    except (
        Exception
    ) as error:  # corrupt values of any kind, in whatever they break: this series is refused, not the study
        return refused(series, _corrupt(type(error).__name__))
    return replace(series, reason=_describe(stacks), stacks=tuple(stacks), warnings=tuple(notes))


def refused(series: Series, error: SeriesError) -> Series:
    """``series`` without stacks, refused by ``error``."""
    return replace(series, verdict="refused", code=error.code, reason=printable(str(error)), stacks=())


def _check_class(datasets: list[Dataset]) -> None:
    """Refuse all but grayscale MR images of the classes that Acuity reads."""
    for ds in datasets:
        sop_class = UID(quiet_text(ds, "SOPClassUID"))
        if sop_class not in MR_CLASSES or quiet_text(ds, "Modality") not in ("MR", ""):
            refusal = UnsupportedSeriesError(
                f"{quiet_text(ds, 'Modality') or 'Unknown modality'}, {sop_class.name}.",
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
        if sop_class == MRImageStorage and (number(ds, "NumberOfFrames") or 1) > 1:
            raise UnsupportedSeriesError(
                "Several frames in an MR Image.", rule="This class has one frame; Enhanced MR Image has several."
            )
        check_bits(ds)
    if len({quiet_text(ds, "SOPClassUID") for ds in datasets}) > 1:
        raise UnsupportedSeriesError("Single-frame and multi-frame images in one series.", rule="One class a series.")


def _fault_of_ct(datasets: list[Dataset]) -> SeriesError | None:
    """The fault of a CT series that misses slices or is tilted: it is reported rather than the modality."""
    if any(quiet_text(ds, "SOPClassUID") != CTImageStorage for ds in datasets):
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
            remedy="Try again once the study has arrived in full, send it again, or remove the files if they do not "
            "belong to it.",
        )


def _check_pixels(datasets: list[Dataset], content: FolderContent) -> None:
    """Refuse a series with files that end before their pixels do, or after."""
    incomplete = sum(id(ds) in content.incomplete for ds in datasets)
    if incomplete:
        raise UnreadablePixelsError(
            f"The pixel data of {incomplete} of {len(datasets)} files is absent, cut short, or longer than its header "
            "says.",
            rule="Every slice must have complete pixel data, and nothing but elements after it.",
            remedy="Try again once the study has arrived in full, or send the series again from the archive.",
        )


def _check_identity(datasets: list[Dataset]) -> None:
    """Refuse images that outputs could not refer to, or whose patient and study cannot be read."""
    for ds in datasets:
        for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            if not uid_text(ds, keyword):
                raise InconsistentHeadersError(
                    f"{keyword} is absent or no UID.",
                    rule="Every image has one, by which results refer to it.",
                    remedy="A header is corrupt: export the series again.",
                )
        for keyword in _IDENTITY:
            element = ds.get_item(keyword)
            if element is not None and element.VR not in (None, "UN", dictionary_VR(element.tag)):
                raise _corrupt(keyword)
            try:
                value = read_value(ds, keyword)
                str(value)  # names are decoded only here
                if isinstance(value, MultiValue) and keyword in ("PatientName", "PatientID"):
                    raise _corrupt(keyword)
            except (LookupError, ValueError) as error:
                raise _corrupt(keyword) from error


def _corrupt(what: str) -> InconsistentHeadersError:
    return InconsistentHeadersError(
        f"A header is corrupt ({what}).",
        rule="Every header of a series must be readable.",
        remedy="Export the series again.",
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
            slices += slices_of(ds)
        except NoGeometryError as error:
            bare.append(error)
    if bare and slices:
        raise InconsistentHeadersError(
            f"{len(bare)} of {len(datasets)} files lack what the others have: {bare[0].found}",
            rule=_GEOMETRY_RULE,
            remedy="A header is corrupt: export the series again.",
        )
    if bare:
        remedy = "Export the original images, not screenshots or converted copies."
        raise NoGeometryError(bare[0].found, rule=_GEOMETRY_RULE, remedy=remedy)
    return slices


def _describe(stacks: list[Stack]) -> str:
    shape, spacing = stacks[0].grid.shape, stacks[0].grid.spacing
    count = "1 volume" if len(stacks) == 1 else f"{len(stacks)} volumes"
    return (
        f"{count} of {shape[0]} x {shape[1]} x {shape[2]} voxels, "
        f"{spacing[0]:.4g} x {spacing[1]:.4g} x {spacing[2]:.4g} mm."
    )
