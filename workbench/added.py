"""The archive's door for studies of one's own: each object is checked, and stored or refused with the reason."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import AsyncIterator
from typing import Any, BinaryIO, cast
from urllib.parse import quote
from uuid import uuid4

import anyio
from pydicom import Dataset
from pydicom.uid import SegmentationStorage
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from label.soundness import segmentation_fault
from workbench.forward import Server
from workbench.incoming import PATIENT, checked_header, refused, text_of
from workbench.refusal import Refusal
from workbench.saved_segmentation import SavedSegmentations

_PART = 1 << 20  # bytes that are read at once
_JSON = "application/dicom+json"
# Of the DICOM JSON model.
_STUDY_UID, _MODALITY, _FAILED = "0020000D", "00080060", "00081198"
_PATIENT_TAGS = {"PatientID": "00100020", "PatientName": "00100010", "PatientBirthDate": "00100030"}
_PATIENT_TAGS |= {"PatientSex": "00100040"}
_FIELDS = "&".join(f"includefield={tag}" for tag in (_STUDY_UID, _MODALITY, *_PATIENT_TAGS.values()))
_OTHER_PATIENT = "A study, and a Patient ID, stand for one patient with one birth date and sex."


class Added:
    """Takes one object a request, in the DICOM file format, from those who may add.

    Parameters
    ----------
    dicomweb : of the archive
    orthanc : its own interface, which knows the hashes of stored objects
    saved : knows which series a segmentation was drawn on
    """

    def __init__(self, dicomweb: Server, orthanc: Server, saved: SavedSegmentations) -> None:
        self._dicomweb, self._orthanc, self._saved = dicomweb, orthanc, saved
        self._turn = anyio.Semaphore(1)  # what is compared with the archive must not change until it is stored

    async def answer(self, request: Request) -> Response:
        """``{"may_add"}`` to GET; to POST ``{"outcome", "modality", "series", "number"}``.

        The outcome is "stored", or "present" for an object that the archive has already.

        Raises
        ------
        Refusal
            For who may not add, and for an object that does not come in.
        """
        may_add = request.state.identity.may_add
        if request.method == "GET":
            return JSONResponse({"may_add": may_add}, headers={"cache-control": "no-store"})
        if not may_add:
            rule = "Studies are brought in by those whom the workbench's configuration names (`adders`)."
            raise Refusal(
                403, "not-allowed", "An account that may not add studies.", rule, "Ask who runs the workbench."
            )
        with tempfile.TemporaryFile() as opened:
            file = cast(BinaryIO, opened)
            async for part in request.stream():
                await anyio.to_thread.run_sync(file.write, part)
            async with self._turn:
                ds = await anyio.to_thread.run_sync(checked_header, file)
                outcome = "present" if await self._is_stored(ds, file) else await self._store(ds, file)
        series, number = text_of(ds, "SeriesDescription"), text_of(ds, "SeriesNumber")
        told = {"outcome": outcome, "modality": text_of(ds, "Modality"), "series": series, "number": number}
        return JSONResponse(told, headers={"cache-control": "no-store"})

    async def _is_stored(self, ds: Dataset, file: BinaryIO) -> bool:
        found = await self._orthanc.ask("POST", "tools/lookup", str(ds.SOPInstanceUID).encode())
        stored = [one["ID"] for one in json.loads(found.content) if one["Type"] == "Instance"]
        if not stored:
            return False
        hashed = await self._orthanc.ask("GET", f"instances/{stored[0]}/attachments/dicom/md5", accept="text/plain")
        file.seek(0)
        own = await anyio.to_thread.run_sync(lambda: hashlib.file_digest(cast(Any, file), "md5").hexdigest())
        if len(stored) == 1 and hashed.content.decode() == own:
            return True
        rule = "An object never changes under its SOP Instance UID."
        raise refused("other-content", "An object that is stored with other content.", rule, status=409)

    async def _store(self, ds: Dataset, file: BinaryIO) -> str:
        await self._check_place(ds)
        if ds.SOPClassUID == SegmentationStorage:
            await self._check_segmentation(ds)
        boundary = uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        length = len(head) + file.seek(0, 2) + len(tail)
        answer = await self._dicomweb.ask(
            "POST", "studies", _body(head, file, tail), accept=_JSON, kind=kind, length=length
        )
        if json.loads(answer.content).get(_FAILED, {}).get("Value"):
            raise refused("archive", "An object that the archive does not take.", "Its log says why.", status=502)
        return "stored"

    async def _check_place(self, ds: Dataset) -> None:
        """A study is of one patient, and a series of one study and modality."""
        for series in await self._find("series", f"SeriesInstanceUID={ds.SeriesInstanceUID}"):
            if (_text(series, _STUDY_UID), _text(series, _MODALITY)) != (ds.StudyInstanceUID, text_of(ds, "Modality")):
                rule = "A series is of one study and one modality."
                raise refused(
                    "other-series", "A series that is stored in another study or as another.", rule, status=409
                )
        patient = {keyword: text_of(ds, keyword) for keyword in PATIENT}
        for study in await self._find("studies", f"StudyInstanceUID={ds.StudyInstanceUID}"):
            if {keyword: _text(study, tag) for keyword, tag in _PATIENT_TAGS.items()} != patient:
                found = "A study that is stored with another patient, or with another name, birth date or sex."
                raise refused("other-patient", found, _OTHER_PATIENT, "Correct it at its source.", status=409)
        if not patient["PatientID"]:
            return
        for study in await self._find("studies", f"PatientID={quote(patient['PatientID'], safe='')}"):
            known = {keyword: _text(study, tag) for keyword, tag in _PATIENT_TAGS.items()}
            differ = any(known[one] and patient[one] and known[one] != patient[one] for one in PATIENT[2:])
            if known["PatientID"] == patient["PatientID"] and differ:
                found = "A Patient ID that is stored with another birth date or sex."
                raise refused("other-patient", found, _OTHER_PATIENT, "Correct it at its source.", status=409)

    async def _check_segmentation(self, ds: Dataset) -> None:
        drawn_on = await self._saved.series_of(ds)
        if drawn_on is None:
            rule = "The images that a segmentation was drawn on come in before it."
            raise refused(
                "no-images", "A segmentation without its images.", rule, "Add the images, then it.", status=409
            )
        fault = segmentation_fault(ds, lambda series: drawn_on.image)
        if fault:
            rule = "A segmentation fits the series that it was drawn on."
            raise refused("segmentation", f"A segmentation that does not fit its study. {fault}", rule)

    async def _find(self, path: str, query: str) -> list[dict[str, Any]]:
        answer = await self._dicomweb.read(path, f"{query}&{_FIELDS}".encode(), _JSON)
        found: list[dict[str, Any]] = json.loads(answer.content or b"[]")
        return found


async def _body(head: bytes, file: BinaryIO, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    file.seek(0)
    while part := await anyio.to_thread.run_sync(file.read, _PART):
        yield part
    yield tail


def _text(item: dict[str, Any], tag: str) -> str:
    value = (item.get(tag, {}).get("Value") or [""])[0]
    return str(value.get("Alphabetic", "") if isinstance(value, dict) else value).strip("^= ")
