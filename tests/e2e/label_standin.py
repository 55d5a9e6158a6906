"""A stand-in for the MONAI Label server: it finds the phantom's own tumor at once, and stores it as that would."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import generate_uid
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from acuity.dicom.writing.model_info import ModelInfo
from acuity.dicom.writing.segmentation import write_segmentation
from acuity.volume import Volume
from label.status import Status
from workbench.demo import store

MODEL = ModelInfo("standin", "1.0.0", "0" * 64)
_SAID = "Served: mean Dice 0.9000 on 1 validation cases, 0.8000 of the model that is served."
_REFUSAL = (
    "The training failed. 1 corrected cases are there to train on and 0 to validate on. Correct cases of more patients."
)
# The status of a training, one look after the other.
TRAINING = (
    Status("train"),
    Status("train", 150, 300, "coarse"),
    Status("train", 200, 300, "fine"),
    Status("train", 300, 300, "fine", outcome=_SAID),
)
REFUSED = (Status("train"), Status("train", outcome=_REFUSAL, failed=True))


class LabelServer:
    """Answers the calls of the viewer's panel; ``asked`` keeps what was asked.

    Parameters
    ----------
    labels : of the tumor, on the grid of the study's images
    images : files of each series by its UID
    dicomweb : of the archive
    """

    def __init__(self, labels: Volume, images: dict[str, list[Path]], dicomweb: str) -> None:
        self._labels, self._images, self._dicomweb = labels, images, dicomweb
        self.asked: list[tuple[str, str]] = []
        self.refuses = False
        self.training: tuple[Status, ...] = TRAINING
        self._looks: Iterator[Status] | None = None
        self._looked = Status("train")

    def app(self, secret: str) -> Starlette:
        """The server below the secret that the gateway shares with it."""
        routes = [
            Route("/info/", lambda _: JSONResponse({"name": "stand-in"})),
            Route("/infer/", self._idle),
            Route("/infer/{model}", self._infer, methods=["POST"]),
            Route("/train/", self._training_status),
            Route("/train/{model}", self._train, methods=["POST"]),
        ]
        return Starlette(routes=[Mount(f"/{secret}", routes=routes)])

    async def _idle(self, _: Request) -> Response:
        return JSONResponse({"detail": "No inference is going on."}, 404)

    async def _infer(self, request: Request) -> Response:
        uid = request.query_params["image"]
        self.asked.append((request.path_params["model"], uid))
        async with request.form() as form:
            assert json.loads(str(form["params"]))["save_label"] is True
        if self.refuses:
            return JSONResponse(
                {
                    "detail": "The study has no FLAIR.",
                    "found": "The study has no FLAIR.",
                    "rule": "",
                    "remedy": "Send one.",
                },
                422,
            )
        if request.path_params["model"] == "super_resolution":
            return JSONResponse({"series": {"T1": self._sharpened(uid)}})
        headers = [dcmread(file, stop_before_pixels=True) for file in self._images[uid]]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "found.dcm"
            labels = replace(self._labels, frame_of_reference_uid=str(headers[0].FrameOfReferenceUID))
            write_segmentation(
                labels,
                headers,
                path,
                series_uid=generate_uid(),
                series_number=9101,
                description="Tumor by AI",
                model=MODEL,
            )
            store(self._dicomweb, [path])
        return JSONResponse({"latencies": {"total": 0.1}})

    def _sharpened(self, uid: str) -> str:
        """Store a series as the models' own; its UID."""
        made = generate_uid()
        with tempfile.TemporaryDirectory() as folder:
            for number, file in enumerate(self._images[uid]):
                ds = dcmread(file)
                ds.SeriesInstanceUID, ds.SOPInstanceUID = made, generate_uid()
                ds.ImageType, ds.Manufacturer = ["DERIVED", "PRIMARY"], "Acuity"
                ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
                ds.save_as(Path(folder) / f"{number}.dcm")
            store(self._dicomweb, sorted(Path(folder).iterdir()))
        return made

    async def _train(self, request: Request) -> Response:
        self.asked.append((request.path_params["model"], "train"))
        self._looks = iter(self.training)
        return JSONResponse({"id": "1", "status": "SUBMITTED"})

    async def _training_status(self, _: Request) -> Response:
        """At each look the training is a step further."""
        if self._looks is None:
            return JSONResponse({"detail": "No Train Tasks Found"}, 404)
        self._looked = next(self._looks, self._looked)
        return JSONResponse({"id": "1", "progress": asdict(self._looked)})
