"""What viewers call passes as it was asked; each hole of the archive's and the models' interfaces is closed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.workbench.conftest import TOKEN, Client
from tests.workbench.standin import Servers

S, E, I = "1.2.840.1", "1.2.840.2", "1.2.840.0.3"  # noqa: E741 - study, series, instance
INSTANCE = f"studies/{S}/series/{E}/instances/{I}"
UID = "1.2.826.0.1.3680043.8.498.1"
NII = ("mask.nii.gz", b"voxels")

READ = [
    "studies",
    "series",
    f"studies/{S}/series",
    f"studies/{S}/series/{E}/metadata",
    f"studies/{S}/series/{E}/rendered",
]
READ += [INSTANCE, f"{INSTANCE}/frames/1,2/rendered", f"{INSTANCE}/bulk/00660023"]
# Paths beside DICOMweb, ways out of it, Orthanc's own calls, and what only looks like a path of DICOMweb.
OUTSIDE = ["", "instances/", "patients", "..", "../patients", "..%2fpatients", "%2e%2e/system", "..%252fsystem"]
OUTSIDE += [
    "studies/..",
    "studies/1.2/../../../system",
    "studies//series",
    "servers/remote/stow",
    "info",
    "studies%3Fx",
]
OUTSIDE += [f"studies/{S}/archive", f"studies/{S}/media", f"studies/{S}%00", f"studies/{S}%0a", f"{INSTANCE}/file"]
OUTSIDE += [f"{INSTANCE}/frames/0", f"{INSTANCE}/frames/1;2", f"{INSTANCE}/bulk/../../file"]
TWICE = f"image={UID}&image=%2Fetc"
NO_UIDS = ["1.2.840.01", "1.2..3", ".1", "1.", "1" * 65, "1.2 OR 1", "%2e%2e", "\u0661.2", "1.2%0a", "a"]

CALLED = ["info/", "datastore/?output=all", "datastore/", "train/", "train/?check_if_running=true"]
CALLED += [f"datastore/label?label={UID}&tag=final", f"datastore/image?image={UID}"]
CALLED += ["datastore/image/info?image=BraTS20_Training_001", "train/?all="]  # MONAI Label's client sends empty values
# Models of strangers, Orthanc through the proxy, logs, pages, lists of paths, sessions, other queries.
CLOSED = ["model/tumor_segmentation", "model/info/x", "proxy/dicom/studies", "proxy/dicom/..%2Fpatients", "logs/"]
CLOSED += ["logs/gpu", "ohif/", "openapi.json", "docs", "", "static/x", "datastore/dataset", "datastore/?output=train"]
CLOSED += ["session/", "session/..", "session/3f2b8a52-7f52-11ef-b864-0242ac120002", "datastore/label?tag=final"]
# What starts, replaces or deletes.
CLOSED_CHANGES = {
    "POST": ["reload", "batch/infer/x", "scoring/dice", "infer/wsi/x", "train/", "train/x?enqueue=yes"],
    "PUT": ["model/tumor_segmentation", f"datastore/label/info?label={UID}&tag=final", "datastore/updatelabelinfo"]
    + [f"datastore/image/info?image={UID}"],
    "DELETE": ["model/x", f"datastore/image?id={UID}", f"datastore/?id={UID}", f"datastore/label?id={UID}&tag=final"],
}


def refused(client: Client, servers: Servers, method: str, path: str, **request: Any) -> str:
    """What the gateway says; nothing reaches a server."""
    answer = client.request(method, f"/{path}", **request)
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    assert servers.reached == [], "it came through"
    assert set(answer.json()) == {"code", "found", "rule", "remedy", "detail"}
    return str(answer.json()["detail"])


# The archive.


@pytest.mark.parametrize("path", READ)
def test_reading_passes_with_its_query(client: Client, servers: Servers, path: str) -> None:
    """Without the query, a search for one patient answers with all."""
    query = "PatientID=A%2BB%5E&limit=2&includefield=00081030&includefield=00080060"
    answer = client.get(f"/dicom-web/{path}?{query}", headers={"accept": "application/dicom+json"})
    assert answer.json() == {"fine": True}
    (reached,) = servers.reached
    assert (reached.method, reached.server, reached.path) == ("GET", "orthanc", f"/dicom-web/{path}")
    assert reached.query == query
    assert reached.headers["accept"] == "application/dicom+json"
    assert reached.headers["forwarded"] == "host=127.0.0.1:8470;proto=http"
    assert reached.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        ("includefield=00081030%2C00080060&PatientID=a%2Cb", "includefield=00081030,00080060&PatientID=a%2Cb"),
        ("limit=101&includefield=1%2c2&includefield=3%2C4", "limit=101&includefield=1,2&includefield=3,4"),
        ("xincludefield=1%2C2&limit=1&offset=20", "xincludefield=1%2C2&limit=1&offset=20"),
        ("viewport=128,128&window=40,80,linear&quality=90", "viewport=128,128&window=40,80,linear&quality=90"),
    ],
)
def test_fields_are_listed_as_orthanc_reads_them(client: Client, servers: Servers, asked: str, passed: str) -> None:
    """OHIF escapes the commas, and without the fields its list of studies has no descriptions."""
    client.get(f"/dicom-web/studies?{asked}")
    assert servers.reached[0].query == passed


@pytest.mark.parametrize(
    "query",
    ["offset=-1", "limit=-1", "limit=1&limit=-1", "%6Cimit=-1", "limit=", "offset=1e9", "limit=9999999", "limit=1%0A"]
    + ["viewport=100000000,100000000", "viewport=30000,1", "viewport=1", "quality=-1", "window=1,2", "window=nan,1,x"],
)
def test_numbers_that_orthanc_fails_on_do_not_pass(client: Client, servers: Servers, query: str) -> None:
    refused(client, servers, "GET", f"dicom-web/studies?{query}")
    refused(client, servers, "GET", f"dicom-web/{INSTANCE}/rendered?{query}")


@pytest.mark.parametrize(("asked", "passed"), [({"accept-encoding": "gzip"}, "gzip"), ({}, "identity")])
def test_answers_are_packed_only_for_who_can_unpack_them(
    client: Client, servers: Servers, asked: dict[str, str], passed: str
) -> None:
    del client.headers["accept-encoding"]  # httpx2 asks for gzip by itself
    client.get("/dicom-web/studies", headers=asked)
    assert servers.reached[0].headers["accept-encoding"] == passed


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-host", "x-real-ip", "referer", "x-other"])
def test_headers_that_servers_need_not_know_stay_behind(client: Client, servers: Servers, name: str) -> None:
    client.get("/dicom-web/studies", headers={name: "stranger"})
    assert "stranger" not in servers.reached[0].headers.values()


@pytest.mark.parametrize("path", OUTSIDE)
def test_other_paths_of_the_archive_do_not_pass(client: Client, servers: Servers, path: str) -> None:
    refused(client, servers, "GET", f"dicom-web/{path}")


@pytest.mark.parametrize("uid", NO_UIDS)
@pytest.mark.parametrize("path", ["studies/{}/series", "studies/{}", f"studies/{S}/series/{{}}/metadata"])
def test_what_is_no_uid_does_not_pass(client: Client, servers: Servers, path: str, uid: str) -> None:
    refused(client, servers, "GET", f"dicom-web/{path.format(uid)}")


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_deletes_or_replaces(client: Client, servers: Servers, method: str) -> None:
    refused(client, servers, method, f"dicom-web/studies/{S}")


def test_storing_has_its_paths_and_a_query_its_end(client: Client, servers: Servers) -> None:
    refused(client, servers, "POST", f"dicom-web/studies/{S}/series", content=b"")
    assert client.get("/dicom-web/studies?" + "x" * 8193).status_code == 414


def test_an_answer_that_leads_elsewhere_does_not_pass(client: Client, servers: Servers) -> None:
    servers.status, servers.headers = 307, {"location": "http://orthanc/system"}
    answer = client.get("/dicom-web/studies")
    assert (answer.status_code, answer.json()["code"]) == (502, "redirect")
    assert "location" not in answer.headers


# The models.


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in CALLED),
        ("DELETE", "train/"),
        ("HEAD", f"datastore/label?image={UID}&tag=final"),
    ],
)
def test_what_viewers_call_passes(client: Client, servers: Servers, method: str, path: str) -> None:
    assert client.request(method, f"/monai/{path}").status_code == 200
    (reached,) = servers.reached
    assert (reached.server, f"{reached.path}?{reached.query}".rstrip("?")) == ("label", f"/{path}")


def test_a_strategy_and_a_training_take_their_json(client: Client, servers: Servers) -> None:
    assert client.post("/monai/activelearning/uncertainty", json={"client_id": "user-xyz"}).status_code == 200
    assert client.post("/monai/train/tumor_segmentation", json={"max_epochs": 2}).status_code == 200
    assert [json.loads(r.body) for r in servers.reached] == [{"client_id": "user-xyz"}, {"max_epochs": 2}]
    assert client.post("/monai/activelearning/random").status_code == 200  # a body may be absent


def test_inference_passes_with_its_parameters_and_its_mask(client: Client, servers: Servers) -> None:
    answer = client.post(
        f"/monai/infer/refine?image={UID}&output=json",
        data={"params": '{"result_dtype": "uint8"}'},
        files={"label": ("C:\\Users\\someone\\scribbles.nrrd", b"voxels")},
    )
    assert answer.status_code == 200
    (reached,) = (one for one in servers.reached if one.server == "label")
    form = reached.form()
    assert form.pop("label") == ("volume.nrrd", b"voxels")  # of the name its suffix alone
    assert json.loads(form.pop("params")[1]) == {"result_dtype": "uint8", "user": "Annotator"} and form == {}


def test_a_label_is_saved(client: Client, servers: Servers) -> None:
    text = json.dumps({"label_info": [{"name": "Peritumoral edema", "idx": 1}]})
    answer = client.put(f"/monai/datastore/label?image={UID}&tag=final", data={"params": text}, files={"label": NII})
    assert answer.status_code == 200
    assert servers.reached[0].form()["label"] == ("volume.nii.gz", b"voxels")


@pytest.mark.parametrize("tag", ["../..", "..%2F..", "a/b", "final%00", "original", "%2e%2e"])
def test_a_tag_names_no_path(client: Client, servers: Servers, tag: str) -> None:
    """`tag=../..` writes a label outside the folder of studies; other tags than `final` belong to the models."""
    refused(client, servers, "PUT", f"monai/datastore/label?image={UID}&tag={tag}", files={"label": NII})


@pytest.mark.parametrize(
    "image", ["../..", "..%2F..%2Fx", "/etc/passwd", "%2Fetc%2Fpasswd", "a..b", ".hidden", "", "a\\b"]
)
def test_an_image_names_no_path(client: Client, servers: Servers, image: str) -> None:
    """`image=../..` writes outside the folder, `image=/any/path` reads any file."""
    for path in ("datastore/image?image=", "datastore/image/info?image=", "datastore/label?tag=final&label="):
        refused(client, servers, "GET", f"monai/{path}{image}")
    for path, field in (("label", "label"), ("", "file"), ("image", "file")):
        refused(client, servers, "PUT", f"monai/datastore/{path}?image={image}", files={field: NII})


@pytest.mark.parametrize("key", ["image", "images", "model", "session", "session_id", "method", "strategy", "user"])
@pytest.mark.parametrize(
    "path", [f"infer/tumor_segmentation?image={UID}", "train/tumor_segmentation", "activelearning/random"]
)
def test_parameters_do_not_override_the_address(client: Client, servers: Servers, path: str, key: str) -> None:
    """MONAI Label merges a client's JSON over what the address said: {"image": "/etc/passwd"} would be read."""
    value = json.dumps({key: "other"})
    body = {"data": {"params": value}} if path.startswith("infer") else {"content": value}
    assert key in refused(client, servers, "POST", f"monai/{path}", **body)


@pytest.mark.parametrize(
    "value", ["/etc/passwd", "..", "a\\b", ["ok", "x/y"], {"deep": {"er": "../x"}}, {"a/b": 1}, "\0"]
)
def test_no_text_of_the_parameters_names_a_file(client: Client, servers: Servers, value: Any) -> None:
    text = json.dumps({"label": value})
    refused(client, servers, "POST", f"monai/infer/refine?image={UID}", data={"params": text})
    refused(client, servers, "POST", "monai/train/tumor_segmentation", content=text)


@pytest.mark.parametrize("text", ["[1]", '"x"', "{", "\u00e4", "[" * 100_000, '{"a": [[[[[[1]]]]]]}'])
def test_parameters_are_an_object_of_some_levels(client: Client, servers: Servers, text: str) -> None:
    refused(client, servers, "POST", f"monai/infer/refine?image={UID}", data={"params": text})


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", path) for path in CLOSED] + [(method, path) for method, paths in CLOSED_CHANGES.items() for path in paths],
)
def test_what_no_viewer_calls_is_closed(client: Client, servers: Servers, method: str, path: str) -> None:
    refused(client, servers, method, f"monai/{path}")


@pytest.mark.parametrize("name", ["..", "..%2Fx", "a%2Fb", "%00", "a b", "-x", "x" * 129])
@pytest.mark.parametrize("path", ["infer/{}", "train/{}", "activelearning/{}"])
def test_a_model_is_a_name(client: Client, servers: Servers, path: str, name: str) -> None:
    refused(client, servers, "POST", f"monai/{path.format(name)}")


@pytest.mark.parametrize(
    "query",
    [
        "image=/etc/passwd",
        "output=dicom_seg",
        "output=all&output=json",
        "file=x",
        TWICE,
        "run_sync=true",
        "session_id=x",
    ],
)
def test_other_queries_of_inference_do_not_pass(client: Client, servers: Servers, query: str) -> None:
    refused(client, servers, "POST", f"monai/infer/x?{query}", data={"params": "{}"})


@pytest.mark.parametrize("query", ["", "?uncompress=true", "?expiry=3600"])
def test_sessions_are_closed(client: Client, servers: Servers, query: str) -> None:
    """One with `uncompress=true` unpacks an archive, whose members may lie outside."""
    refused(client, servers, "PUT", f"monai/session/{query}", files={"files": NII})


@pytest.mark.parametrize("name", ["x.nii.gz.exe", "x", "", "x.pt", "x.mha", "x.nii/../../y"])
def test_files_are_volumes(client: Client, servers: Servers, name: str) -> None:
    """MONAI Label takes the suffixes of the client's file name for its own."""
    refused(client, servers, "PUT", f"monai/datastore/label?image={UID}", files={"label": (name, b"x")})


@pytest.mark.parametrize(
    "body",
    [
        {"files": {"file": NII}},  # an image of the client's, in the place of the case's
        {"data": {"params": "{}", "other": "x"}},
        {"data": {"label": "no file"}},
        {"files": [("label", NII), ("label", NII)]},
        {"content": b"params={}", "headers": {"content-type": "text/plain"}},
    ],
)
def test_a_form_holds_nothing_else(client: Client, servers: Servers, body: dict[str, Any]) -> None:
    refused(client, servers, "POST", f"monai/infer/x?image={UID}", **body)


def test_a_stale_length_does_not_wait_for_a_body(client: Client, servers: Servers) -> None:
    """MONAI Label's client keeps Content-Length of its last upload among its headers."""
    headers = {"content-length": "12345", "content-type": "multipart/form-data; boundary=x"}
    assert client.get("/monai/info/", headers=headers).status_code == 200
    assert {"content-length", "content-type"}.isdisjoint(servers.reached[0].headers)


def test_slicers_login(stranger: Client) -> None:
    """MONAI Label's client asks whether there is a login, then for a token by name and password."""
    assert stranger.get("/monai/auth/").json() == {"enabled": True}
    form = {"username": "anyone", "password": TOKEN, "grant_type": "password"}
    answer = stranger.post("/monai/auth/token", data=form)
    assert answer.json() == {"access_token": TOKEN, "token_type": "bearer"}
    assert stranger.get("/monai/auth/token/valid").status_code == 401
    assert stranger.get("/monai/auth/token/valid", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200
    assert stranger.post("/monai/auth/token", data={**form, "password": "x"}).status_code == 401


def test_errors_of_the_server_come_through(client: Client, servers: Servers) -> None:
    servers.status, servers.body = 400, b'{"detail": "The case has no FLAIR."}'
    answer = client.post(f"/monai/infer/x?image={UID}", data={"params": "{}"})
    assert (answer.status_code, answer.json()) == (400, {"detail": "The case has no FLAIR."})
