"""Find the DICOM files of a folder, the damaged ones among them included."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)

from acuity.dicom.reading.directory import absent_files
from acuity.dicom.reading.headers import quiet_text, uid_text
from acuity.dicom.reading.one_file import FileHeader, read_header, series_of_damaged
from acuity.dicom.reading.structure import StructureError
from acuity.errors import InputNotFoundError

MULTI_FRAME_CLASSES = (EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
MR_CLASSES = (MRImageStorage, *MULTI_FRAME_CLASSES)

# A file without the preamble of PS3.10 begins with group 0008 (or 0002), element below 0x100.
_BARE_STARTS = (b"\x08\x00", b"\x02\x00")

# All headers of a study are kept in memory. The largest studies have some 20,000 images of 250 elements.
MAX_STUDY_ELEMENTS, MAX_STUDY_HEADER_BYTES = 6_000_000, 1 << 30


@dataclass(frozen=True)
class DamagedFile:
    """A file that belongs to the study and cannot be used.

    ``series_uid`` is None where the file no longer tells; then any series with files in ``folder`` may be
    the one it belongs to.
    """

    folder: Path
    reason: str
    series_uid: str | None = None


@dataclass
class FolderContent:
    """The files of a folder: readable headers, damaged files, and (relative path, reason) of all that are passed over.

    ``incomplete`` has the ids (``id(ds)``) of headers whose pixel data is absent, cut short or too long;
    ``directories`` the DICOMDIRs. ``elements`` and ``header_bytes`` count what all headers hold.
    """

    root: Path
    datasets: list[Dataset] = field(default_factory=list)
    damaged: list[DamagedFile] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)
    incomplete: set[int] = field(default_factory=set)
    directories: list[Dataset] = field(default_factory=list)
    elements: int = 0
    header_bytes: int = 0

    def count(self, header: FileHeader) -> None:
        """Count what the headers of the study hold.

        Raises
        ------
        StructureError : it is more than that of any study
        """
        self.elements += header.elements
        self.header_bytes += header.size
        if self.elements > MAX_STUDY_ELEMENTS or self.header_bytes > MAX_STUDY_HEADER_BYTES:
            raise StructureError("the headers of the study are larger than those of any")

    def ignore(self, file: Path, reason: str) -> None:
        """Pass over ``file``."""
        self.ignored.append((file.relative_to(self.root).as_posix(), reason))

    def damage(self, file: Path, reason: str, series_uid: str | None = None) -> None:
        """Pass over ``file``, which belongs to the study and is damaged."""
        self.damaged.append(DamagedFile(file.parent, reason, series_uid))
        self.ignore(file, reason)


def find_dicom(path: Path) -> FolderContent:
    """Read the header of every DICOM file at or under ``path``, without pixels.

    A DICOMDIR is not trusted to be complete: the folder is walked, and what the DICOMDIR lists and the folder
    lacks counts as damaged. A file that is not DICOM is passed over, unless it is named as its DICOM siblings
    are (digits apart): then it is a slice whose header was destroyed.

    Raises
    ------
    InputNotFoundError : nothing is there
    """
    if not path.exists():
        raise InputNotFoundError("The input path does not exist.", remedy="Give a folder or file that exists.")
    if path.is_file() and path.name.upper() == "DICOMDIR":
        path = path.parent
    content = FolderContent(path if path.is_dir() else path.parent)
    files = list(_walk(path))
    others = [file for file in files if not _take(file, content)]
    series = {uid_text(ds, "SeriesInstanceUID") for ds in content.datasets}
    # The UID of a damaged header may be another's, or none.
    content.damaged = [d if d.series_uid in series else replace(d, series_uid=None) for d in content.damaged]
    _check_directories(files, content)
    names = {_folder_and_pattern(Path(ds.filename)) for ds in content.datasets} - {""}
    for file in others:
        if _folder_and_pattern(file) in names:
            content.damage(file, "named as the DICOM files beside it, but holds no DICOM header")
        else:
            content.ignore(file, "not DICOM")
    return content


def _walk(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    seen: set[str] = set()
    for folder, folders, files in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder that is in the study anyway, or in a circle
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _encloses(Path(folder, name), path))
        yield from (Path(folder, name) for name in sorted(files))


def _encloses(folder: Path, path: Path) -> bool:
    """Whether a folder is a link to one that the whole study lies in: it may hold the studies of others."""
    return folder.is_symlink() and path.resolve().is_relative_to(folder.resolve())


def _folder_and_pattern(file: Path) -> tuple[Path, str]:
    return file.parent, re.sub(r"\d+", "#", file.name)


def _take(file: Path, content: FolderContent) -> bool:
    """Sort one file into ``content``; False if it has no DICOM header."""
    if not file.is_file():  # a broken link, a pipe
        return False
    bare = False
    try:
        with file.open("rb") as stream:
            start = stream.read(132)
            bare = start[128:132] != b"DICM"
            if bare and not (start[:2] in _BARE_STARTS and start[3:4] == b"\x00"):
                return False
            stream.seek(0)
            header = _header(stream, file, content, bare)
    except OSError as error:
        content.damage(file, f"cannot be opened: {error.strerror}")
        return True
    if header is None:
        return not bare  # without the DICM mark there is no saying that it was DICOM
    ds = header.dataset
    if bare and "SOPClassUID" not in ds:
        return False
    if quiet_text(ds.file_meta, "MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        content.ignore(file, "DICOMDIR, an index of the other files")
        content.directories.append(ds)
    else:
        _take_dataset(ds, file, content, header.complete)
    return True


def _header(stream: BinaryIO, file: Path, content: FolderContent, bare: bool) -> FileHeader | None:
    """The header of a file; None where it cannot be read, and then the file is damaged unless it is ``bare``."""
    try:
        header = read_header(stream, file, bare=bare)
        content.count(header)
        return header
    except OSError:
        raise
    except Exception as error:  # a damaged header makes the parser fail in any way
        reason = str(error) if isinstance(error, StructureError) else f"cannot be parsed: {type(error).__name__}"
        if not bare:
            content.damage(file, f"a DICOM file with a damaged header ({reason})", series_of_damaged(stream))
    return None


def _take_dataset(ds: Dataset, file: Path, content: FolderContent, complete: bool) -> None:
    uids = [uid_text(ds, keyword) for keyword in ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")]
    sop_class = UID(uids[0])
    if sop_class in MR_CLASSES and "Rows" not in ds:
        # cut before its pixels: where nothing follows the last UID, it may be shortened
        whole = any(keyword in ds for keyword in ("StudyID", "SeriesNumber", "AcquisitionNumber", "InstanceNumber"))
        content.damage(file, "a DICOM file whose header is cut short", uids[2] or None if whole else None)
    elif all(uids):
        content.datasets.append(ds)
        if not complete:
            content.incomplete.add(id(ds))
    elif sop_class.name != sop_class and not sop_class.name.endswith("Image Storage"):
        content.ignore(file, "a DICOM object that belongs to no series")
    else:
        content.damage(file, "a DICOM file without study or series UID", uids[2] or None)


def _check_directories(files: list[Path], content: FolderContent) -> None:
    """Count what a DICOMDIR lists and the folder lacks as damaged."""
    instances = {uid_text(ds, "SOPInstanceUID") for ds in content.datasets}
    for ds in content.directories:
        for file in absent_files(ds, Path(ds.filename).parent, files, instances):
            content.damage(file, "listed in the DICOMDIR, but not there")
