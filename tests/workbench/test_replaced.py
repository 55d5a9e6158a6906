"""A model's newer result takes the place of its older one in a real archive, and of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from starlette.responses import Response

from acuity.dicom.writing.model_info import ModelInfo
from acuity.dicom.writing.segmentation import write_segmentation
from acuity.volume import Volume
from label.datastores.segmentations import write_label
from tests.dicom_builder import axial_affine, phantom, uid, write_mr_series
from tests.orthanc import Orthanc, running_orthanc
from workbench.demo import store
from workbench.forward import Server, make_client
from workbench.replaced import Replaced

SHAPE, AFFINE = (24, 20, 6), axial_affine((3.0, 3.0, 3.0))
MODEL = ModelInfo("tumor", "1", "0" * 64)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        yield orthanc


class Study:
    """A study in the archive, and what finds and corrects tumors in it."""

    def __init__(self, orthanc: Orthanc, folder: Path, name: str) -> None:
        own = uid("replaced", name)
        self._orthanc, self._folder = orthanc, folder
        files = write_mr_series(folder, phantom(SHAPE), AFFINE, study_uid=own, PatientID=own[-12:])
        store(orthanc.dicomweb, files)
        self._images = tuple(dcmread(file, stop_before_pixels=True) for file in files)
        self.series = str(self._images[0].SeriesInstanceUID)

    def found(self, *, model: ModelInfo = MODEL, number: int = 9101, description: str = "Tumor by AI") -> str:
        """Store a model's result; its UID."""
        path = self._folder / "found.dcm"
        naming: dict[str, Any] = {"series_uid": generate_uid(), "series_number": number, "description": description}
        write_segmentation(self._labels(), self._images, path, model=model, **naming)
        return self._stored(path)

    def corrected(self, change: Callable[[Dataset], None] = lambda ds: None) -> str:
        """Store what a person made of a model's result, under the same name and number; its UID."""
        path = self._folder / "corrected.dcm"
        write_label(self._labels(), path, tag="final", annotator="anna", model=MODEL, computed=False)
        ds = dcmread(path)
        ds.SeriesDescription, ds.SeriesNumber = "Tumor by AI", 9101
        change(ds)
        ds.save_as(path)
        return self._stored(path)

    def there(self, *series: str) -> list[bool]:
        return [bool(self._orthanc.find("Series", SeriesInstanceUID=one)) for one in series]

    def infer(self, act: Callable[[], str], *, status: int = 200) -> str:
        """Let a model act behind the gateway; the UID of its result."""
        made: list[str] = []

        async def answer() -> Response:
            made.append(await asyncio.to_thread(act))
            return Response(status_code=status)

        async def ask() -> Response:
            client = make_client()
            servers = (
                Server("Orthanc", root, client, seconds=60, public_url="http://127.0.0.1:8470")
                for root in (self._orthanc.dicomweb, self._orthanc.rest)
            )
            return await Replaced(*servers).infer(self.series, answer)

        assert asyncio.run(ask()).status_code == status
        return made[0]

    def _labels(self) -> Volume:
        labels = np.zeros(SHAPE, np.uint8)
        labels[8:12, 8:12, 2:4] = 4
        return Volume(labels, AFFINE, str(self._images[0].FrameOfReferenceUID), self._images)

    def _stored(self, path: Path) -> str:
        store(self._orthanc.dicomweb, [path])
        return str(dcmread(path, stop_before_pixels=True).SeriesInstanceUID)


@pytest.fixture
def study(orthanc: Orthanc, tmp_path: Path, request: pytest.FixtureRequest) -> Study:
    return Study(orthanc, tmp_path, request.node.name)


def test_only_the_newest_result_of_a_model_stays(study: Study) -> None:
    first = study.infer(study.found)
    second = study.infer(lambda: study.found(model=ModelInfo("tumor", "2", "1" * 64)))  # a model that has learned
    third = study.infer(study.found)
    assert study.there(first, second, third) == [False, False, True]
    assert study.there(study.series) == [True]


def _as_by_nobody(ds: Dataset) -> None:
    """As OHIF leaves what it saves: the type of its segments is kept, their algorithm's identification is not."""
    for item in ds.SegmentSequence:
        item.SegmentAlgorithmType = "AUTOMATIC"
        item.pop("SegmentationAlgorithmIdentificationSequence", None)


def _in_part(ds: Dataset) -> None:
    """One segment is a person's, the others are the model's."""
    for item in ds.SegmentSequence[1:]:
        item.SegmentAlgorithmType = "AUTOMATIC"


def _signed(ds: Dataset) -> None:
    """Everything but the person's name says that a model made it."""
    for item in ds.SegmentSequence:
        item.SegmentAlgorithmType = "AUTOMATIC"


@pytest.mark.parametrize("change", [lambda ds: None, _as_by_nobody, _in_part, _signed])
def test_a_correction_is_never_replaced(study: Study, change: Callable[[Dataset], None]) -> None:
    found, corrected = study.infer(study.found), study.corrected(change)
    again = study.infer(study.found)
    assert study.there(found, corrected, again) == [False, True, True]


@pytest.mark.parametrize(
    "other",
    [{"model": ModelInfo("another", "1", "0" * 64)}, {"number": 9201}, {"description": "Tumor by AI, on SR grid"}],
)
def test_other_results_stay(study: Study, other: dict[str, Any]) -> None:
    kept, found = study.found(**other), study.infer(study.found)
    again = study.infer(study.found)
    assert study.there(kept, found, again) == [True, False, True]


def test_a_result_of_another_study_stays(study: Study, orthanc: Orthanc, tmp_path: Path) -> None:
    other = Study(orthanc, tmp_path / "other", "other")
    kept = other.infer(other.found)
    study.infer(study.found)
    assert other.there(kept) == [True]


def test_a_search_that_fails_takes_nothing_away(study: Study) -> None:
    found = study.infer(study.found)
    study.infer(study.found, status=500)
    assert study.there(found) == [True]


def test_an_archive_that_fails_meanwhile_changes_no_answer() -> None:
    async def down(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("down")

    async def answer() -> Response:
        return Response(status_code=200)

    client = make_client(httpx2.MockTransport(down))
    server = Server("Orthanc", "http://127.0.0.1:1", client, seconds=1, public_url="http://127.0.0.1:8470")
    assert asyncio.run(Replaced(server, server).infer("1.2.3", answer)).status_code == 200
