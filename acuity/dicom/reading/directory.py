"""What a DICOMDIR lists and its folder lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom import Dataset

from acuity.dicom.reading.headers import quiet_items, quiet_value, uid_text, values_of


def absent_files(ds: Dataset, folder: Path, present: Iterable[Path], instances: set[str]) -> Iterator[Path]:
    """The files that a DICOMDIR (PS3.3 F.3.2.2) in ``folder`` lists and that are not among those ``present``.

    An image counts as present if its SOP Instance UID is, whatever its file is called now: downloads rename files.
    Others are compared by name, without its case, an extension (PS3.10 section 8.2) or the version of ISO 9660 (";1").

    Parameters
    ----------
    instances : SOP Instance UIDs of all images that were found

    Yields
    ------
    Paths below ``folder``, also where the DICOMDIR lists others.
    """
    names = {_plain(path.relative_to(folder).parts) for path in present if path.is_relative_to(folder)}
    for record in quiet_items(ds, "DirectoryRecordSequence"):
        parts = _parts(record)
        uid = uid_text(record, "ReferencedSOPInstanceUIDInFile")
        if parts and uid not in instances and _plain(parts) not in names:
            yield folder.joinpath(*parts)


def _parts(record: Dataset) -> list[str]:
    """The components of a record's file ID; none leads out of the folder."""
    texts = re.split(r"[\\/]", "\\".join(str(value) for value in values_of(quiet_value(record, "ReferencedFileID"))))
    return [text for text in texts if text.strip(". ")]


def _plain(parts: Iterable[str]) -> tuple[str, ...]:
    *folders, name = (re.sub(r";\d+$", "", part).upper() for part in parts)
    return (*folders, name.partition(".")[0] or name)
