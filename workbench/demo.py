"""The demo study in the archive: a phantom's, so that the workbench has something to show at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx2

from acuity.demo.study import write_demo_study
from acuity.errors import WorkbenchError
from workbench import multipart

_SECONDS = 120


def load(dicomweb: str) -> None:
    """Make the demo study and store it in the archive, whose DICOMweb root is ``dicomweb``.

    Raises
    ------
    WorkbenchError
        Where the archive does not take it.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_demo_study(Path(folder))
        for series in sorted(Path(folder).iterdir()):
            store(dicomweb, sorted(series.iterdir()))


def store(dicomweb: str, files: list[Path]) -> None:
    """Store DICOM files in the archive.

    Raises
    ------
    WorkbenchError
        Where it does not take them.
    """
    body, kind = multipart.encode((file.read_bytes() for file in files), "application/dicom")
    headers = {"content-type": kind, "accept": "application/dicom+json", "connection": "close"}
    try:
        answer = httpx2.post(f"{dicomweb}/studies", content=body, headers=headers, timeout=_SECONDS, trust_env=False)
        found = "" if answer.status_code == 200 else f"The archive answers {answer.status_code}."
    except httpx2.HTTPError as error:
        found = f"The archive cannot be reached: {type(error).__name__}."
    if found:
        raise WorkbenchError(found, rule="It must take the demo study.", remedy="Look into Orthanc's log.")
