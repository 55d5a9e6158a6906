"""All that 3D Slicer's module asks of a label server, by its own client, on a folder and on a real archive alike."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from acuity.anatomy import Sequence
from tests.dicom_builder import STUDY_UID, uid
from tests.label_cases import (
    FLAIR_GRID,
    GRID,
    SUFFIX,
    centroid,
    draw,
    seen,
    truth,
    write_case,
    write_trainable_bundles,
)
from tests.label_server import Server, running_label_server
from tests.orthanc import running_orthanc
from tests.study_phantom import lesion_centroid, write_study

monailabel_client = pytest.importorskip("monailabel.client")
pytestmark = [
    pytest.mark.slow,
    # the client, which is monailabel's own, imports what Python 3.13 drops, and leaves files to the garbage collector
    pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

GRIDS = {Sequence.FLAIR: FLAIR_GRID}
NAMES = {"Necrotic and non-enhancing tumor core": 1, "Peritumoral edema": 2, "Enhancing tumor": 4}


@dataclass(frozen=True)
class Place:
    """A server with two cases, and the ids of the images of the first."""

    server: Server
    ids: dict[Sequence, str]
    other: str
    stored: Callable[[str], bool]

    def client(self, folder: Path) -> Any:
        return monailabel_client.MONAILabelClient(self.server.url, tmpdir=str(folder), client_id="annotator")


@pytest.fixture(scope="module", params=["folder", "archive"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp(request.param)
    bundles = write_trainable_bundles(folder / "bundles")
    if request.param == "folder":
        for number, name in enumerate(("first", "second")):
            write_case(folder / "studies", name, grids=GRIDS, noise=number)
        (folder / "studies" / "half").mkdir()
        shutil.copy(
            folder / "studies" / "first" / "first_t1ce.nii.gz", folder / "studies" / "half" / "half_t1ce.nii.gz"
        )
        ids = {sequence: f"first_{suffix}" for sequence, suffix in SUFFIX.items()} | {Sequence.T1C: "first"}
        with running_label_server(folder, str(folder / "studies"), bundles) as server:
            yield Place(server, ids, "second", lambda path: Path(path).is_file())
        return
    (folder / "orthanc").mkdir()
    with running_orthanc(folder / "orthanc") as orthanc:
        write_study(folder / "study", {**dict.fromkeys(Sequence, GRID), **GRIDS}, PatientID="one")
        orthanc.send(folder / "study")
        ids = {s: str(uid(STUDY_UID, s.value, n)) for n, s in enumerate(Sequence, start=1)}
        with running_label_server(folder, orthanc.dicomweb, bundles) as server:
            yield Place(server, ids, "", lambda series: len(orthanc.find("Series", SeriesInstanceUID=series)) == 1)


def test_it_says_what_it_can(place: Place, tmp_path: Path) -> None:
    client = place.client(tmp_path)
    assert client.auth_enabled() is False
    info = client.info()
    assert set(info["models"]) == {"tumor_segmentation", "super_resolve_and_segment", "super_resolution", "refinement"}
    assert info["models"]["tumor_segmentation"]["labels"] == NAMES
    assert set(info["strategies"]) == {"uncertainty", "random", "oldest"}
    assert info["train_stats"]["tumor_segmentation"]["served"] == 0
    assert info["datastore"]["total"] == (2 if place.other else 1)


@pytest.mark.parametrize("sequence", [Sequence.T1C, Sequence.FLAIR])
@pytest.mark.parametrize("task", ["tumor_segmentation", "super_resolve_and_segment"])
def test_a_mask_lies_on_the_series_that_is_open(place: Place, tmp_path: Path, task: str, sequence: Sequence) -> None:
    file, said = place.client(tmp_path).infer(task, place.ids[sequence], {})
    mask, grid = seen(file)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 1, 2, 4}
    assert grid.same_as(GRIDS.get(sequence, GRID))
    assert np.linalg.norm(centroid(mask, grid) - lesion_centroid()) < 4.0  # a voxel of the phantom
    assert said["label_names"] == NAMES
    assert len(said["weights_sha256"]) == 64


def test_segments_have_their_names_in_slicer_s_own_format(place: Place, tmp_path: Path) -> None:
    file, _ = place.client(tmp_path).infer(
        "tumor_segmentation", place.ids[Sequence.T1C], {"result_extension": ".seg.nrrd"}
    )
    picture = sitk.ReadImage(file)
    named = {
        picture.GetMetaData(f"Segment{n}_Name"): int(picture.GetMetaData(f"Segment{n}_LabelValue")) for n in range(3)
    }
    assert named == NAMES


def test_a_correction_comes_back_voxel_by_voxel_and_is_learned_from(place: Place, tmp_path: Path) -> None:
    client = place.client(tmp_path)
    drawn = truth()
    drawn[3:6, 4:9, 5:7] = np.random.default_rng(0).choice(np.array([0, 1, 2, 4], np.uint8), (3, 5, 2))
    sent = np.select([drawn == 1, drawn == 2, drawn == 4], [3, 1, 2]).astype(np.uint8)  # in another order of segments
    info = [
        {"name": "Peritumoral edema", "idx": 1},
        {"name": "Enhancing tumor", "idx": 2},
        {"name": "Necrotic and non-enhancing tumor core", "idx": 3},
    ]
    client.save_label(place.ids[Sequence.T1C], draw(tmp_path / "drawn.nii.gz", sent, GRID), params={"label_info": info})
    back, grid = seen(client.download_label(place.ids[Sequence.T1C], "final"))
    np.testing.assert_array_equal(back, drawn)
    assert grid.same_as(GRID)
    (pair,) = requests.get(f"{place.server.url}/datastore/?output=train", timeout=60).json()
    np.testing.assert_array_equal(seen(pair["label"])[0], drawn)
    assert client.datastore()["objects"][place.ids[Sequence.T1C]]["labels"]["final"]


def test_the_next_sample_is_one_that_waits(place: Place, tmp_path: Path) -> None:
    client = place.client(tmp_path)
    for strategy in ("uncertainty", "random", "oldest"):
        found = client.next_sample(strategy, {})
        if not place.other:
            assert found == {}  # the only case is annotated already
            continue
        assert found["id"] == place.other
        assert Path(found["path"]).is_file()


def test_clicks_correct_the_mask(place: Place, tmp_path: Path) -> None:
    client = place.client(tmp_path)
    ids = place.ids[Sequence.T1C]
    start, _ = seen(client.infer("tumor_segmentation", ids, {})[0])
    healthy = [int(n) for n in np.argwhere((truth() == 0) & (start == 0))[1000]]
    sent = draw(tmp_path / "mask.nii.gz", start, GRID)
    file, _ = client.infer("refinement", ids, {"Enhancing tumor": [healthy], "background": []}, label_in=sent)
    assert seen(file)[0][tuple(healthy)] == 4
    with pytest.raises(Exception, match="There is no click"):
        client.infer("refinement", ids, {})


def test_derived_series_are_stored(place: Place) -> None:
    answer = requests.post(
        f"{place.server.url}/infer/super_resolution", params={"image": place.ids[Sequence.T1C]}, timeout=600
    )
    assert answer.status_code == 200, answer.text
    series = answer.json()["series"]
    assert set(series) == {"T1", "T1c", "T2", "FLAIR"}
    assert all(place.stored(one) for one in series.values())


def test_refusals_say_what_is_wrong(place: Place, tmp_path: Path) -> None:
    def post(task: str = "tumor_segmentation", params: Any = None, **query: str) -> requests.Response:
        return requests.post(
            f"{place.server.url}/infer/{task}",
            params=query,
            data={"params": params if isinstance(params, str) else json.dumps(params or {})},
            timeout=300,
        )

    assert post(image="9.9.9").status_code == 404
    assert post(image="/etc/passwd").status_code in (404, 422)
    assert post("nothing", image="first").status_code == 404
    assert post(image=place.ids[Sequence.T1C], params="{").status_code == 400
    assert post(image="9.9.9", params={"image": "/etc/passwd"}).status_code == 422
    wrong = post(image=place.ids[Sequence.T1C], params={"result_extension": ".exe"})
    assert wrong.status_code == 422
    assert wrong.json()["rule"].startswith("A mask is written as")
    if place.other:
        half = post(image="half")
        assert half.status_code == 422
        assert half.json()["found"] == "T1, T2 and FLAIR are missing."
        status = requests.get(f"{place.server.url}/case/", params={"image": "half"}, timeout=60).json()
        assert status["message"] == "T1, T2 and FLAIR are missing." and status["missing"] == ["T1", "T2", "FLAIR"]
    ready = requests.get(f"{place.server.url}/case/", params={"image": place.ids[Sequence.T1C]}, timeout=60).json()
    assert ready == {"ready": True, "message": "", "missing": [], "remedy": ""}
    assert requests.get(f"{place.server.url}/case/", params={"image": "9.9.9"}, timeout=60).status_code == 404
    assert requests.get(f"{place.server.url}/infer/", timeout=60).status_code == 404  # none is going on
    assert requests.post(f"{place.server.url}/activelearning/none", json={}, timeout=60).status_code == 400
    chosen = requests.post(f"{place.server.url}/activelearning/oldest", json={}, timeout=60)
    assert chosen.status_code == 200 and str(place.server.models.parent) not in chosen.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null", "Content-Type": "text/plain"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "elsewhere.example:8000"},
        {"Host": "127.0.0.1.elsewhere.example"},
        {"Host": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_no_other_site_may_ask(place: Place, headers: dict[str, str], method: str) -> None:
    """Not even with the secret, and nothing in the answer lets a page read it."""
    for path in ("info/", "train/tumor_segmentation", "activelearning/random"):
        answer = requests.request(method, f"{place.server.url}/{path}", headers=headers, timeout=60)
        assert answer.status_code in (400, 403)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "session/?uncompress=true"),
        ("GET", "session/0"),
        ("PUT", "model/tumor_segmentation"),
        ("GET", "model/tumor_segmentation"),
        ("POST", "batch/infer/tumor_segmentation"),
        ("POST", "scoring/overlap"),
        ("POST", "infer/wsi/tumor_segmentation"),
        ("GET", "proxy/dicom/studies"),
        ("GET", "logs/?lines=10"),
        ("GET", "ohif/"),
        ("GET", "static/favicon.ico"),
        ("GET", "datastore/dataset"),
        ("DELETE", "datastore/image?id=first"),
        ("DELETE", "datastore/label?id=first&tag=final"),
        ("PUT", "datastore/label/info?label=first&tag=final"),
        ("PUT", "datastore/updatelabelinfo?label=first&tag=final"),
        ("GET", ""),
        ("GET", "docs"),
        ("GET", "openapi.json"),
        ("POST", "reload"),
    ],
)
def test_all_other_calls_are_closed(place: Place, method: str, path: str) -> None:
    files = {"files": ("x.tar.gz", b"x")} if method == "PUT" else None
    answer = requests.request(method, f"{place.server.url}/{path}", files=files, timeout=60)
    assert answer.status_code in (404, 405)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="becomes another user")
def test_another_user_of_the_computer_gets_nothing(place: Place) -> None:
    """With the port known, and with the path of the secret's file."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    read = subprocess.run([*nobody, "cat", str(place.server.secret)], capture_output=True, check=False)
    assert read.returncode != 0 and not read.stdout
    for path in ("info/", "datastore/?output=all", "datastore/image?image=first", "x/info/", "", "/info/", "%2e/info/"):
        asked = [*nobody, "curl", "-s", "-o", "-", "-w", "%{http_code}", f"{place.server.root}/{path}"]
        answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        assert answer.endswith("403") and "secret" in answer
        assert place.ids[Sequence.T1C] not in answer
    written = [*nobody, "curl", "-s", "-T", "/etc/passwd", f"{place.server.root}/session/?uncompress=true"]
    assert "secret" in subprocess.run(written, capture_output=True, text=True, check=False).stdout
    assert place.server.url not in subprocess.run(["ps", "axww"], capture_output=True, text=True, check=False).stdout
    assert place.server.url.rpartition("/")[2] not in place.server.log.read_text()


def test_a_refused_upload_leaves_nothing(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "x.nrrd"
    secret.write_text("NRRD0004\ntype: uint8\ndimension: 3\nsizes: 3 3 3\nencoding: raw\ndata file: /etc/passwd\n\n")
    before = set(Path(tempfile.gettempdir()).iterdir())
    for ask in (
        lambda: place.client(tmp_path).save_label(place.ids[Sequence.T1C], str(secret)),
        lambda: place.client(tmp_path).infer("refinement", place.ids[Sequence.T1C], {}, label_in=str(secret)),
    ):
        with pytest.raises(Exception, match="a field that is closed"):
            ask()
    assert not [path for path in set(Path(tempfile.gettempdir()).iterdir()) - before if path.suffix == ".nrrd"]


def test_an_image_is_uploaded_where_there_are_files(place: Place, tmp_path: Path) -> None:
    client = place.client(tmp_path)
    image = draw(tmp_path / "image.nii.gz", truth(), GRID)
    if not place.other:
        with pytest.raises(Exception, match="Send the study to the archive as DICOM"):
            client.upload_image(image, "third_t1")
        return
    assert client.upload_image(image, "third_t1") == {"image": "third_t1"}


def test_training_is_started_watched_and_stopped(place: Place, tmp_path: Path) -> None:
    """One patient is corrected: a training says that it needs another."""
    client = place.client(tmp_path)
    client.train_start("tumor_segmentation", {"iterations": 5})
    wait_for_training(client, "SUBMITTED")
    assert client.train_status(check_if_running=True)
    with pytest.raises(Exception, match="Already Running"):
        client.train_start("tumor_segmentation", {})
    task = wait_for_training(client)
    assert task["status"] == "ERROR"
    assert task["progress"]["failed"] is True
    assert "corrected cases are there to train on" in task["progress"]["outcome"]
    client.train_start("tumor_segmentation", {"iterations": 100_000})
    wait_for_training(client, "SUBMITTED")
    assert client.train_status()["progress"]["outcome"] is None  # the end of the training before is not this one's
    assert client.train_stop()["status"] == "STOPPED"
    assert client.train_status()["progress"]["outcome"] == "The training was stopped."


def wait_for_training(client: Any, *states: str) -> dict[str, Any]:
    """Until the last training is in none of the states any more, by default until it has ended."""
    until = time.monotonic() + 900
    while (task := client.train_status())["status"] in (states or ("SUBMITTED", "RUNNING")):
        assert time.monotonic() < until, task
        time.sleep(0.2)
    return dict(task)


def test_two_corrected_patients_make_a_candidate(place: Place, tmp_path: Path) -> None:
    if not place.other:
        pytest.skip("the archive of this test holds one patient")
    client = place.client(tmp_path)
    for image in (place.ids[Sequence.T1C], place.other):
        client.save_label(image, draw(tmp_path / "truth.nii.gz", truth(), GRID))
    client.train_start("tumor_segmentation", {"iterations": 60, "learning_rate": 0.01, "patch": [16, 16, 16]})
    task = wait_for_training(client)
    assert task["status"] == "DONE", task["details"]
    stats = client.info()["train_stats"]["tumor_segmentation"]
    (made,) = stats["candidates"]
    progress = {"task": "train", "step": 120, "of": 120, "part": "fine", "outcome": made["reason"], "failed": False}
    assert task["progress"] == progress
    assert made["served"] is (made["figures"]["candidate"]["dice"] >= made["figures"]["served"]["dice"])
    assert stats["served"] == (1 if made["served"] else 0)
    _, said = client.infer("tumor_segmentation", place.ids[Sequence.T1C], {})
    assert said["version"] == ("0.0.1+1" if made["served"] else "0.0.1")
    if made["served"]:
        assert said["weights_sha256"] == made["weights_sha256"]
        address = f"{place.server.url}/train/tumor_segmentation?run_sync=true"
        requests.post(address, json={"rollback": "previous"}, timeout=60).raise_for_status()
        assert client.info()["train_stats"]["tumor_segmentation"]["served"] == 0


def test_the_log_names_no_case(place: Place) -> None:
    log = place.server.log.read_text()
    assert "find: " in log  # progress is there
    for name in place.ids.values():
        assert f"/{name}" not in log
