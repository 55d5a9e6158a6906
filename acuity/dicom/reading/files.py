"""Find the DICOM files of a folder, the damaged ones among them included."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)

from acuity.dicom.reading.headers import quiet_text, values_of
from acuity.errors import InputNotFoundError

MULTI_FRAME_CLASSES = (EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
MR_CLASSES = (MRImageStorage, *MULTI_FRAME_CLASSES)

# A file without the preamble of PS3.10 begins with group 0008 (or 0002), element below 0x100.
_BARE_STARTS = (b"\x08\x00", b"\x02\x00")
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


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

    ``incomplete`` has the ids (``id(ds)``) of headers whose pixel data is absent or cut short.
    """

    root: Path
    datasets: list[Dataset] = field(default_factory=list)
    damaged: list[DamagedFile] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)
    incomplete: set[int] = field(default_factory=set)

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
    others = [file for file in _walk(path) if not _take(file, content)]
    names = {_folder_and_pattern(Path(ds.filename)) for ds in content.datasets}
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
    for folder, folders, files in os.walk(path):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(files))


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
            ds = dcmread(stream, stop_before_pixels=True, force=bare)
            complete = _pixels_complete(stream, ds)
    except OSError as error:
        content.damage(file, f"cannot be opened: {error.strerror}")
        return True
    except Exception as error:  # a damaged header makes the parser fail in any way
        if not bare:  # without the DICM mark there is no saying that it was DICOM
            content.damage(file, f"a DICOM file that cannot be parsed ({type(error).__name__})")
        return not bare
    if bare and "SOPClassUID" not in ds:
        return False
    if quiet_text(ds.file_meta, "MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        content.ignore(file, "DICOMDIR, an index of the other files")
        _check_directory(ds, file, content)
    else:
        _take_dataset(ds, file, content, complete)
    return True


def _take_dataset(ds: Dataset, file: Path, content: FolderContent, complete: bool) -> None:
    uids = [quiet_text(ds, keyword) for keyword in ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")]
    sop_class = UID(uids[0])
    if sop_class in MR_CLASSES and "Rows" not in ds:
        # cut before its pixels: even the last UID it still has may be shortened
        content.damage(file, "a DICOM file whose header is cut short")
    elif all(uids):
        content.datasets.append(ds)
        if not complete:
            content.incomplete.add(id(ds))
    elif sop_class.name != sop_class and not sop_class.name.endswith("Image Storage"):
        content.ignore(file, "a DICOM object that belongs to no series")
    else:
        content.damage(file, "a DICOM file without study or series UID", uids[2] or None)


def _pixels_complete(stream: BinaryIO, ds: Dataset) -> bool:
    """Whether the pixel data that ``stream`` stands before is complete; True where that cannot be told."""
    syntax = ds.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
    if "Rows" not in ds or syntax == DeflatedExplicitVRLittleEndian:
        return True  # no image, or the position is lost in inflating
    size = os.fstat(stream.fileno()).st_size
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    header = stream.read(8)
    if len(header) < 8:
        return False
    length: int = struct.unpack(order + "I", header[4:])[0]
    if header[4:6] in (b"OB", b"OW", b"UN"):  # explicit VR: two reserved bytes, then the length
        length = struct.unpack(order + "I", stream.read(4).ljust(4, b"\0"))[0]
    if length != 0xFFFFFFFF:
        return stream.tell() + length <= size and length >= _native_length(ds)
    while (item := stream.read(8))[:4] == _ITEM and len(item) == 8:
        stream.seek(struct.unpack("<I", item[4:])[0], os.SEEK_CUR)
    return item[:4] == _SEQUENCE_END


def _native_length(ds: Dataset) -> int:
    try:
        frames = int(ds.get("NumberOfFrames") or 1)
        bits = ds.Rows * ds.Columns * ds.BitsAllocated * ds.get("SamplesPerPixel", 1) * frames
    except Exception:  # judged where the geometry is read, with a better message
        return 0
    return int(bits // 8)


def _check_directory(ds: Dataset, file: Path, content: FolderContent) -> None:
    """Count listed files (PS3.3 F.3.2.2) that are gone as damaged; media differ in the case of names."""
    present = {str(path.relative_to(file.parent)).upper() for path in _walk(file.parent)}
    for record in ds.get("DirectoryRecordSequence") or ():
        parts = values_of(record.get("ReferencedFileID"))
        if parts and str(Path(*parts)).upper() not in present:
            content.damage(file.parent / Path(*parts), "listed in the DICOMDIR, but not there")
