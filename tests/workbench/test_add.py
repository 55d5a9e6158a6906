"""Studies of one's own come into a real archive through the gateway; what is not sound is refused, with the reason."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from pydicom import Dataset, config, dcmread
from pydicom.uid import UID, CTImageStorage, DeflatedExplicitVRLittleEndian, RawDataStorage

from acuity.errors import AcuityError, InputNotFoundError, NoDicomError, WorkbenchError
from acuity.volume import Grid
from tests.dicom_builder import axial_affine, phantom, truncate, uid, write_mr_series, write_other
from tests.orthanc import Orthanc, running_orthanc
from tests.unsound_segs import save, write_seg
from tests.workbench.standin import free_port, serving
from workbench.__main__ import main
from workbench.add import add
from workbench.gateway import create_app
from workbench.identity import Identity, SharedToken, read_or_make_token
from workbench.settings import Settings

SHAPE, AFFINE = (24, 20, 6), axial_affine((3.0, 3.0, 3.0))


@dataclass(frozen=True)
class Door:
    """A gateway before a real archive, and a client of one who may add."""

    settings: Settings
    orthanc: Orthanc
    client: httpx2.Client

    def send(self, file: Path) -> httpx2.Response:
        return self.client.post("/add", content=file.read_bytes())

    def stored(self, **query: str) -> int:
        return len(self.orthanc.find("Instance", **query))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("door")
    (folder / "index.html").write_text("<!doctype html>")
    with running_orthanc(folder, OverwriteInstances=False) as orthanc:
        ports: dict[str, Any] = {
            "port": free_port(),
            "orthanc_port": int(orthanc.rest.rpartition(":")[2]),
            "label_port": free_port(),
        }
        settings = Settings(state=folder / "state", cache=folder, **ports)
        token, _ = read_or_make_token(settings.token_file)
        with serving(create_app(settings, folder, token), settings.port):
            headers = {"authorization": f"Bearer {token}", "content-type": "application/dicom"}
            with httpx2.Client(base_url=settings.url, headers=headers, trust_env=False, timeout=60) as client:
                yield Door(settings, orthanc, client)


@pytest.fixture
def study(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A series of a study and a patient that no other test has."""
    own = uid("add", request.node.name)
    write_mr_series(
        tmp_path / "study", phantom(SHAPE), AFFINE, study_uid=own, PatientID=own[-12:], FrameOfReferenceUID=uid(own)
    )
    return tmp_path / "study"


def first(study: Path) -> Path:
    return min(study.iterdir())


def told(door: Door, folders: list[Path]) -> list[str]:
    lines: list[str] = []
    add(folders, door.settings, lines.append)
    return lines


def test_a_study_comes_in_and_is_known_the_second_time(door: Door, study: Path) -> None:
    ds = dcmread(first(study))
    (study / "notes.txt").write_text("no image")
    assert told(door, [study]) == [
        " objects  outcome   series",
        "       6  new       MR 1 T1",
        "Passed over: 1 files that are not in the DICOM file format",
    ]
    assert door.stored(StudyInstanceUID=ds.StudyInstanceUID) == 6
    assert door.orthanc.file(ds.SOPInstanceUID, study / "back").read_bytes() == first(study).read_bytes()
    (study / "back").unlink()
    assert told(door, [study])[1] == "       6  known     MR 1 T1"
    assert door.stored(StudyInstanceUID=ds.StudyInstanceUID) == 6


def test_a_segmentation_comes_in_with_its_images_in_any_order(door: Door, study: Path) -> None:
    labels = np.zeros(SHAPE)
    labels[8:12, 8:12, 2:4] = 4
    write_seg(study / "0.dcm", study, Grid(SHAPE, AFFINE), labels)
    lines = told(door, [study])
    assert lines[1:] == ["       6  new       MR 1 T1", "       1  new       SEG 9102 Tumor by annotator"]


def _set(**values: Any) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        with config.disable_value_validation():
            for keyword, value in values.items():
                setattr(ds, keyword, value)

    return change


def _class(uid: str) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID(uid)

    return change


UNSOUND: dict[str, tuple[Callable[[Dataset], None], int, str]] = {
    "CT": (_class(CTImageStorage), 422, "class"),
    "raw data": (_class(RawDataStorage), 422, "class"),
    "no class": (_class("1.2.3"), 422, "class"),
    "study UID of a path": (_set(StudyInstanceUID="../../x"), 422, "uid"),
    "study UID with a leading zero": (_set(StudyInstanceUID="1.2.03"), 422, "uid"),
    "series UID of words": (_set(SeriesInstanceUID="abc def"), 422, "uid"),
    "no series UID": (_set(SeriesInstanceUID=""), 422, "uid"),
    "frame of reference": (_set(FrameOfReferenceUID="1..2"), 422, "uid"),
    "other UID than its file": (_set(SOPInstanceUID="1.2.3.4"), 422, "uid"),
    "two patients": (_set(PatientID="A\\B"), 422, "patient"),
    "too large": (_set(Rows=65535, Columns=65535), 422, "size"),
    "no rows": (_set(Rows=0), 422, "size"),
    "more frames than pixels": (_set(NumberOfFrames=3), 422, "pixels"),
    "pixels cut short": (lambda ds: setattr(ds, "PixelData", ds.PixelData[:-20]), 422, "pixels"),
    "pixels too long": (lambda ds: setattr(ds, "PixelData", ds.PixelData + bytes(20)), 422, "pixels"),
    "no pixels": (lambda ds: delattr(ds, "PixelData"), 422, "pixels"),
    "a long value": (_set(EncapsulatedDocument=bytes(2 << 20)), 422, "unreadable"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_object_that_is_not_sound_stays_out(door: Door, study: Path, name: str) -> None:
    change, status, code = UNSOUND[name]
    ds = dcmread(first(study))
    change(ds)
    with config.disable_value_validation():
        ds.save_as(first(study))
    answer = door.send(first(study))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert str(ds.PatientName) not in answer.text and str(ds.PatientID) not in answer.text
    assert door.stored(SOPInstanceUID=str(ds.SOPInstanceUID)) == 0


def test_deeply_nested_sequences_stay_out(door: Door, study: Path) -> None:
    content = first(study).read_bytes()
    opened = b"\x08\0\x15\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0" + b"\xff" * 4  # a sequence, and its item
    at = content.find(b"\x08\x00\x20\x00DA")
    first(study).write_bytes(content[:at] + opened * 3000 + content[at:])
    assert door.send(first(study)).json()["code"] == "unreadable"


@pytest.mark.parametrize("content", [b"", b"no DICOM", bytes(200), bytes(128) + b"DICM" + bytes(200)])
def test_what_is_no_dicom_file_stays_out(door: Door, content: bytes) -> None:
    answer = door.client.post("/add", content=content)
    assert (answer.status_code, answer.json()["code"]) == (422, "unreadable")


@pytest.mark.parametrize("keep", [0.2, 0.5, -1])
def test_a_file_that_is_cut_short_stays_out(door: Door, study: Path, keep: float) -> None:
    truncate(first(study), keep)
    assert door.send(first(study)).status_code == 422


def deflated(file: Path, surplus: int) -> bytes:
    """A file as it is when deflated, with zeros behind its pixels."""
    ds = dcmread(file)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(file)
    content = file.read_bytes()
    start = 132 + 12 + int(dcmread(file).file_meta.FileMetaInformationGroupLength)
    whole = zlib.decompress(content[start:], -zlib.MAX_WBITS)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [packer.compress(whole), *(packer.compress(bytes(1 << 20)) for _ in range(surplus >> 20)), packer.flush()]
    return content[:start] + b"".join(parts)


@pytest.mark.parametrize("surplus", [32 << 20, 1 << 30])
def test_a_deflated_bomb_stays_out(door: Door, study: Path, surplus: int) -> None:
    answer = door.client.post("/add", content=deflated(first(study), surplus))
    assert answer.status_code == 422


def test_a_deflated_object_comes_in(door: Door, study: Path) -> None:
    assert door.client.post("/add", content=deflated(first(study), 0)).json()["outcome"] == "stored"


CLASHES: dict[str, tuple[dict[str, Any], str]] = {
    "another patient in the study": ({"PatientID": "OTHER"}, "other-patient"),
    "another name in the study": ({"PatientName": "Other^One"}, "other-patient"),
    "another birth date in the study": ({"PatientBirthDate": "19510101"}, "other-patient"),
    "the patient born on another day": ({"PatientBirthDate": "19510101", "StudyInstanceUID": "1.2.7"}, "other-patient"),
    "the patient of another sex": ({"PatientSex": "F", "StudyInstanceUID": "1.2.8"}, "other-patient"),
    "the series in another study": ({"StudyInstanceUID": "1.2.9"}, "other-series"),
}


@pytest.mark.parametrize("name", CLASHES)
def test_an_object_that_clashes_with_the_archive_stays_out(door: Door, study: Path, name: str) -> None:
    change, code = CLASHES[name]
    (one, other), fresh = sorted(study.iterdir())[:2], "StudyInstanceUID" in change and code == "other-patient"
    assert door.send(one).json()["outcome"] == "stored"
    ds = dcmread(other)
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    if fresh:
        ds.SeriesInstanceUID = uid(ds.SeriesInstanceUID, "fresh")
    ds.save_as(other)
    answer = door.send(other)
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert door.stored(SOPInstanceUID=str(ds.SOPInstanceUID)) == 0


def test_a_stored_object_never_changes(door: Door, study: Path) -> None:
    assert door.send(first(study)).json()["outcome"] == "stored"
    before = first(study).read_bytes()
    ds = dcmread(first(study))
    ds.PixelData = bytes(len(ds.PixelData))
    ds.save_as(first(study))
    answer = door.send(first(study))
    assert (answer.status_code, answer.json()["code"]) == (409, "other-content")
    assert door.orthanc.file(ds.SOPInstanceUID, study / "back").read_bytes() == before


@pytest.mark.parametrize("change", [{"PatientID": "OTHER"}, {"StudyInstanceUID": "1.2.3"}, {"Rows": 1}])
def test_a_segmentation_of_another_patient_or_place_stays_out(
    door: Door, study: Path, change: dict[str, Any], tmp_path: Path
) -> None:
    told(door, [study])
    ds = write_seg(tmp_path / "seg.dcm", study, Grid(SHAPE, AFFINE), np.full(SHAPE, 4))
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    save(ds, tmp_path / "seg.dcm")
    assert door.send(tmp_path / "seg.dcm").status_code in (409, 422)
    assert door.stored(SOPInstanceUID=str(ds.SOPInstanceUID)) == 0


def test_a_large_object_comes_in(door: Door, tmp_path: Path) -> None:
    own = uid("large")
    (file,) = write_mr_series(tmp_path, np.full((1400, 1400, 1), 7), AFFINE, study_uid=own, PatientID="LARGE-1")
    assert file.stat().st_size > 3 << 20
    assert door.send(file).json()["outcome"] == "stored"


def test_a_report_comes_in(door: Door, tmp_path: Path) -> None:
    own = uid("report")
    file = write_other(tmp_path, "1.2.840.10008.5.1.4.1.1.88.34", "SR", study_uid=own, PatientID="REPORT-1")
    assert door.send(file).json()["outcome"] == "stored"


def test_what_was_refused_is_told_and_the_rest_is_in(door: Door, study: Path) -> None:
    truncate(first(study), 0.5)
    lines: list[str] = []
    with pytest.raises(WorkbenchError, match="1 of 6 objects were refused; the others are in the archive"):
        add([study], door.settings, lines.append)
    assert lines[1] == "       5  new       MR 1 T1"
    assert lines[2].startswith("Refused: 1. A file that cannot be read")
    assert lines[3].strip() == f"study/{first(study).name}"


def test_the_command_line(door: Door, study: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def call(*words: object) -> int:
        ports = ["--port", door.settings.port, "--orthanc-port", door.settings.orthanc_port]
        ports += ["--label-port", door.settings.label_port]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["workbench", *map(str, [*words, "--state", door.settings.state, *ports])])
            return main()

    assert call("add", study) == 0
    assert "6  new       MR 1 T1" in capsys.readouterr().out
    assert call("add", tmp_path / "nowhere") == 10
    (tmp_path / "empty").mkdir()
    assert call("add", tmp_path / "empty") == 11
    truncate(first(study), 0.5)
    assert call("add", study) == 80
    with pytest.raises(SystemExit, match="2"):
        call("add")
    with pytest.raises(SystemExit, match="2"):
        call("status", study)


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        (lambda folder: shutil.rmtree(folder), InputNotFoundError),
        (lambda folder: [file.write_text("x") for file in folder.iterdir()], NoDicomError),
    ],
)
def test_nothing_is_sent_where_there_is_nothing(
    door: Door, study: Path, prepare: Callable[[Path], Any], error: type[AcuityError]
) -> None:
    prepare(study)
    with pytest.raises(error):
        add([study], door.settings, print)


def test_a_workbench_that_does_not_run_is_named(study: Path, tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "state", cache=tmp_path, port=free_port())
    with pytest.raises(WorkbenchError, match="The gateway does not answer"):
        add([study], settings, print)


def test_only_who_may_adds(door: Door, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def identify(self: SharedToken, credential: str) -> Identity:
        return Identity("Reader", personal=True)

    assert door.client.get("/add").json() == {"may_add": True}
    monkeypatch.setattr(SharedToken, "identify", identify)
    assert door.client.get("/add").json() == {"may_add": False}
    answer = door.send(first(study))
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    with pytest.raises(WorkbenchError, match="may not add studies"):
        add([study], door.settings, print)
    monkeypatch.undo()
    assert httpx2.post(f"{door.settings.url}/add", content=first(study).read_bytes()).status_code == 401
    assert door.stored(StudyInstanceUID=str(dcmread(first(study)).StudyInstanceUID)) == 0
