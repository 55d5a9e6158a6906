"""The segmentations that a viewer stores, checked and repaired before the archive takes them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from io import BytesIO
from typing import Any, NamedTuple

import anyio
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, SegmentationStorage
from starlette.requests import Request
from starlette.responses import Response

from acuity.dicom.reading.headers import frame_value, macro
from acuity.dicom.reading.read_seg import read_segmentation, segment_labels
from acuity.errors import InconsistentHeadersError, UnsupportedSeriesError
from label.soundness import is_uid, reaches_beyond, segmentation_fault
from workbench import multipart
from workbench.bounded_dicom import read_bounded
from workbench.forward import Server
from workbench.refusal import Refusal
from workbench.repair_seg import repair_algorithms, repair_bits, repair_references, repair_segmentation

_MOST_OBJECTS = 16  # of one request; viewers send one
_MOST_VOXELS = 5 << 26  # of all frames: three segments of 512 x 512 x 400, one byte each while they are checked
_JSON = "application/dicom+json"
# What pydicom raises on values that it converts when they are read, and acuity on those that it reads strictly.
_FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    InconsistentHeadersError,
    LookupError,
    RecursionError,
    NotImplementedError,
    TypeError,
    ValueError,
)


class _Series(NamedTuple):
    """A series of images: the header of one, and the positions of all, (N, 3) in LPS mm."""

    image: Dataset
    positions: NDArray[np.float64]


class SavedSegmentations:
    """Takes what viewers store in the archive.

    One request is worked on at a time, because an object takes some hundred MiB of memory meanwhile.
    """

    def __init__(self, archive: Server) -> None:
        self._archive = archive
        self._turn = anyio.Semaphore(1)

    async def store(self, request: Request, path: str, query: bytes) -> Response:
        """Answer a STOW-RS request (PS3.18 section 10.5) whose path and query have been checked.

        Raises
        ------
        Refusal
            For a body of another form, for an object that is not a segmentation with Acuity's segments, and for one
            that does not belong to its study: viewers store nothing else.
        """
        sent_as, creator = request.headers.get("content-type", ""), request.state.identity.name
        _check_kind(sent_as)
        body = await request.body()
        async with self._turn:
            repaired, taken = [], set[str]()
            for content in _decoded(body, sent_as):
                ds = await anyio.to_thread.run_sync(_opened, content)
                await self._check_place(ds, path.partition("/")[2], taken)
                taken.add(ds.SOPInstanceUID)
                drawn_on = await self.series_of(ds)
                repaired.append(await anyio.to_thread.run_sync(_repaired, ds, creator, drawn_on))
            content, kind = multipart.encode(repaired, "application/dicom")
            return await self._archive.forward(request, path, query, content=content, kind=kind)

    async def _check_place(self, ds: Dataset, study: str, taken: set[str]) -> None:
        """An object in an archive never changes, and a series is of one study and one kind."""
        if study and study != ds.StudyInstanceUID:
            raise _unfit("A segmentation of another study than the address says.", "Both name one study.")
        if ds.SOPInstanceUID in taken or await self._find("instances", f"SOPInstanceUID={ds.SOPInstanceUID}"):
            rule = "Each object has a SOP Instance UID of its own."
            raise _unfit("A segmentation with the SOP Instance UID of an object that is stored.", rule, status=409)
        for series in await self._find("series", f"SeriesInstanceUID={ds.SeriesInstanceUID}"):
            if (_value(series, "0020000D"), _value(series, "00080060")) != (ds.StudyInstanceUID, "SEG"):
                raise _unfit(
                    "A segmentation in a series of images or of another study.", "It lies in a series of its own."
                )

    async def series_of(self, ds: Dataset) -> _Series | None:
        """The series that a segmentation was drawn on; None where it is no MR series of the study."""
        with _readable():
            series = str(ds.ReferencedSeriesSequence[0].SeriesInstanceUID)
        if not is_uid(series):
            return None
        path = f"studies/{ds.StudyInstanceUID}/series"
        found = await self._find(path, f"SeriesInstanceUID={series}")
        if [_value(one, "00080060") for one in found] != ["MR"]:
            return None
        instances = await self._find(f"{path}/{series}/instances", "includefield=00200032")
        instance = _value(instances[0], "00080018") if instances else ""
        if not is_uid(instance):
            return None
        (header,) = await self._read(f"{path}/{series}/instances/{instance}/metadata", "")
        with _readable():
            image = Dataset.from_json(header, bulk_data_uri_handler=lambda tag, vr, uri: None)
            return _Series(image, _positions(image, instances))

    async def _find(self, path: str, query: str) -> list[dict[str, Any]]:
        return await self._read(path, f"{query}&includefield=00080060&includefield=0020000D")

    async def _read(self, path: str, query: str) -> list[dict[str, Any]]:
        answer = await self._archive.read(path, query.encode(), _JSON)
        found: list[dict[str, Any]] = json.loads(answer.content or b"[]")
        return found


def _check_kind(sent_as: str) -> None:
    kind = Message()
    kind["content-type"] = sent_as
    if kind.get_content_type() != "multipart/related" or kind.get_param("type") != "application/dicom":
        raise _unfit("A body of another type.", 'It is multipart/related with type="application/dicom".', status=415)


def _decoded(body: bytes, sent_as: str) -> list[bytes]:
    try:
        parts = multipart.decode(body, sent_as, _MOST_OBJECTS)
    except ValueError as error:
        raise _unfit(f"A body that cannot be taken apart: {error}.", f"It has 1 to {_MOST_OBJECTS} parts.") from error
    if not parts:
        raise _unfit("A body without an object.", f"It has 1 to {_MOST_OBJECTS} parts.")
    return parts


@contextmanager
def _readable() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _FAULTS as error:
        rule = "Each part is one object in the file format, uncompressed, as PS3.3 and PS3.5 say."
        raise _unfit("A DICOM object that cannot be read.", rule) from error


def _opened(content: bytes) -> Dataset:
    """A segmentation whose header is sound, as far as it can tell by itself."""
    with _readable():
        ds = read_bounded(content)
        if ds.get("SOPClassUID") != SegmentationStorage or ds.get("SegmentationType") != "BINARY":
            raise _unfit("An object that is not a binary segmentation.", "Viewers store corrected segmentations only.")
        if ds.get("Modality") != "SEG":
            raise _unfit("A segmentation of another modality than SEG.", "Its modality says what its series is.")
        study, *own = (str(ds.get(name) or "") for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
        # Scanners may give UIDs with leading zeros; what is made now has none.
        if not all(map(is_uid, (study, *own))) or not all(UID(uid).is_valid for uid in own):
            raise _unfit("A segmentation one of whose UIDs is none.", "UIDs are digits and dots (PS3.5 section 9.1).")
        if "[" in str(ds.get("SeriesDescription") or ""):
            rule = "Brackets in a description are the mark of a model's results."
            raise _unfit("A segmentation whose description has brackets.", rule)
        if int(ds.get("NumberOfFrames", 1)) * int(ds.Rows) * int(ds.Columns) > _MOST_VOXELS:
            raise _unfit("A segmentation that is too large.", f"Its frames have {_MOST_VOXELS} voxels at most.")
    return ds


def _positions(image: Dataset, instances: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Of each instance as the archive lists it, or of each frame of one enhanced image."""
    listed = [item["00200032"]["Value"] for item in instances if "00200032" in item]
    frames = range(len(image.get("PerFrameFunctionalGroupsSequence", ())))
    framed = [frame_value(image, n, "PlanePositionSequence", "ImagePositionPatient") for n in frames]
    return np.array(framed or listed, np.float64).reshape(-1, 3)


def _repaired(ds: Dataset, creator: str, drawn_on: _Series | None) -> bytes:
    """A corrected segmentation made whole, once it is known to belong to its study.

    Its voxels and UIDs stay as they are.
    """
    with _readable():
        if "ContentCreatorName" in ds:
            del ds.ContentCreatorName  # who saves is known from the login, not from what a viewer says
        try:
            repair_segmentation(ds, creator)
        except UnsupportedSeriesError as error:
            raise _unfit("A segmentation with other segments.", error.rule) from error
        fault = segmentation_fault(ds, lambda series: drawn_on and drawn_on.image)
        if not fault and drawn_on and reaches_beyond(ds, *drawn_on):
            fault = "It reaches beyond the series that it was drawn on."
        if fault:
            raise _unfit(
                f"A segmentation that does not fit its study. {fault}", "It is drawn on a series of the study."
            )
        named = segment_labels(ds)
        if any(_segment(ds, frame) not in named for frame in range(len(ds.PerFrameFunctionalGroupsSequence))):
            raise _unfit("A segmentation with a frame of no segment.", "Each frame belongs to one of its segments.")
        repair_bits(ds)
        repair_references(ds)
        repair_algorithms(ds)
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        target = BytesIO()
        ds.save_as(target, enforce_file_format=True)
        try:
            read_segmentation(ds)  # as every reader of it will
        except UnsupportedSeriesError as error:
            raise _unfit(error.found, error.rule) from error
    return target.getvalue()


def _segment(ds: Dataset, frame: int) -> int:
    return int(macro(ds, "SegmentIdentificationSequence", frame).ReferencedSegmentNumber)


def _value(item: dict[str, Any], tag: str) -> str:
    """The first value of an attribute in the DICOM JSON model (PS3.18 annex F); "" where it has none."""
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _unfit(found: str, rule: str, *, status: int = 422) -> Refusal:
    return Refusal(status, "not-stored", found, rule, "Correct the segmentation in the viewer and save it again.")
