"""Single frames of BINARY segmentations, which viewers ask for and Orthanc does not serve.

Orthanc 1.10 refuses frames of one bit a voxel. OHIF 3.13 can read the whole object instead, but then its dcmjs
takes the wrong bits wherever rows x columns is not a multiple of eight, and draws the tumor in pieces elsewhere. So the
gateway serves the frames, each from its first bit on, and the viewer is told to ask for them.
"""

from __future__ import annotations

import asyncio
import json
import re
from io import BytesIO

import anyio
import numpy as np
from cachetools import LRUCache
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from starlette.responses import Response

from workbench import multipart
from workbench.forward import Server
from workbench.refusal import Refusal, bad_value

_PATH = re.compile(r"studies/([^/]+)/series/([^/]+)/instances/([^/]+)/frames/([0-9,]+)")
_MOST_SERIES, _MOST_OBJECTS = 4096, 8  # remembered: what a series is, and segmentations that are open now
_WHOLE = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class OneBitFrames:
    """The frames of segmentations in an archive, whose objects never change under their UIDs."""

    def __init__(self, archive: Server) -> None:
        self._archive = archive
        self._segmentations: LRUCache[str, bool] = LRUCache(_MOST_SERIES)
        self._frames: LRUCache[str, list[bytes] | None] = LRUCache(_MOST_OBJECTS)
        self._lock = asyncio.Lock()  # a viewer asks for many frames at once; the object is fetched once

    async def answer(self, path: str) -> Response | None:
        """The frames that a path below the DICOMweb root asks for, each as LSB-first bits from a byte of its own.

        Returns
        -------
        Response or None
            None where it asks for something else, which the archive answers itself.

        Raises
        ------
        Refusal
            For a frame that the object does not have.
        """
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        study, series, instance, numbers = match.groups()
        async with self._lock:
            if not await self._is_segmentation(study, series):
                return None
            frames = await self._frames_of(f"studies/{study}/series/{series}/instances/{instance}")
        if frames is None:
            return None
        wanted = [int(number) for number in numbers.split(",")]
        if max(wanted) > len(frames):
            raise bad_value("A frame that the segmentation does not have.", f"It has {len(frames)} frames.")
        syntax = "; transfer-syntax=1.2.840.10008.1.2.1"
        body, kind = multipart.encode((frames[number - 1] for number in wanted), "application/octet-stream", syntax)
        return Response(body, 200, {"content-type": kind, "cache-control": "no-store"})

    async def _is_segmentation(self, study: str, series: str) -> bool:
        if series not in self._segmentations:
            query = f"SeriesInstanceUID={series}&includefield=00080060".encode()
            found = await self._archive.read(f"studies/{study}/series", query, "application/dicom+json")
            modalities = [entry.get("00080060", {}).get("Value") for entry in json.loads(found.content or b"[]")]
            self._segmentations[series] = ["SEG"] in modalities
        return self._segmentations[series]

    async def _frames_of(self, path: str) -> list[bytes] | None:
        if path not in self._frames:
            found = await self._archive.read(path, b"", _WHOLE)
            kind = found.headers.get("content-type", "")
            self._frames[path] = await anyio.to_thread.run_sync(split, found.content, kind)
        return self._frames[path]


def split(body: bytes, content_type: str) -> list[bytes] | None:
    """The frames of the object in a multipart body; None where it has not one bit a voxel.

    Raises
    ------
    Refusal
        Where the archive sent something else.
    """
    try:
        (content,) = multipart.decode(body, content_type, 1)
        ds = dcmread(BytesIO(content))
        if ds.BitsAllocated != 1:
            return None
        pixels = np.reshape(ds.pixel_array, (int(ds.get("NumberOfFrames", 1)), -1))
    except (AttributeError, InvalidDicomError, ValueError) as error:
        found = "The archive sent no segmentation."
        raise Refusal(502, "bad-answer", found, "It has stored one.", "Look into its log.") from error
    return [frame.tobytes() for frame in np.packbits(pixels, axis=1, bitorder="little")]
