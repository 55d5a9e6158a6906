"""The gateway: one origin for OHIF, Orthanc's DICOMweb and MONAI Label, open to those who are logged in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workbench import dicomweb_rules, label_rules
from workbench.forward import Server, make_client
from workbench.guard import Guard
from workbench.identity import Sessions, SharedToken, Verifier
from workbench.login import OPEN_PATHS, Login
from workbench.oidc import OidcSettings, OidcVerifier
from workbench.one_bit_frames import OneBitFrames
from workbench.refusal import Refusal, answer, bad_value
from workbench.saved_segmentation import repair_stored
from workbench.viewer import Viewer

_KIB, _MIB = 1 << 10, 1 << 20
# Most bytes of a body: a segmentation of 512 x 512 x 400 voxels takes 39 MiB, a volume of as many in floats 400.
_LIMITS = {
    "/": 64 * _KIB,
    "/dicom-web/": 128 * _MIB,
    "/monai/": 64 * _KIB,
    "/monai/infer/": 512 * _MIB,
    "/monai/datastore/": 512 * _MIB,
    "/monai/session/": 512 * _MIB,
}
_MOST_PARAMETERS = _MIB  # bytes of JSON in a form
_ORTHANC_S, _LABEL_S = 300.0, 3600.0  # a study is super-resolved and segmented in minutes on a small computer
_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]


@dataclass(frozen=True)
class GatewaySettings:
    """What the gateway stands in front of, and for whom.

    Parameters
    ----------
    public_url : the address that browsers open
    orthanc : DICOMweb root of Orthanc, such as http://127.0.0.1:8471/dicom-web
    label : root of MONAI Label
    viewer : OHIF's distribution
    token : of all who use it, and ``annotator`` their name; not used with ``oidc``
    oidc : the identity provider; None for the token
    """

    public_url: str
    orthanc: str
    label: str
    viewer: Path
    token: str
    annotator: str = "Annotator"
    oidc: OidcSettings | None = None


def create_app(settings: GatewaySettings, client: httpx2.AsyncClient | None = None) -> Starlette:
    """The gateway as an ASGI application, which reaches its servers through ``client``."""
    client = client or make_client()
    verifier: Verifier = SharedToken(settings.token, settings.annotator)
    if settings.oidc is not None:
        verifier = OidcVerifier(settings.oidc, client)
    sessions = Sessions()
    viewer = Viewer(settings.viewer)
    public = settings.public_url
    cookie = f"acuity-{urlsplit(public).port or 443}"  # cookies know no ports: two workbenches must not meet
    orthanc = Server("Orthanc", settings.orthanc, client, seconds=_ORTHANC_S, public_url=public)
    label = Server("MONAI Label", settings.label, client, seconds=_LABEL_S, public_url=public)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    login = Login(verifier, sessions, cookie=cookie, public_url=public)
    return Starlette(
        routes=[
            Route("/health", _health),
            *login.routes(),
            Route("/dicom-web/{path:path}", partial(_dicomweb, orthanc, OneBitFrames(orthanc)), methods=_METHODS),
            Route("/monai/{path:path}", partial(_label, label), methods=_METHODS),
            Route("/{path:path}", viewer.answer, methods=["GET"]),
        ],
        middleware=[
            Middleware(
                Guard,
                public_url=public,
                verifier=verifier,
                sessions=sessions,
                cookie=cookie,
                open_paths=OPEN_PATHS | {"/health"},
                limits=_LIMITS,
            ),
        ],
        exception_handlers={Refusal: answer, HTTPException: _http_error, Exception: _failure},
        lifespan=lifespan,
    )


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _dicomweb(orthanc: Server, frames: OneBitFrames, request: Request) -> Response:
    path, query = request.path_params["path"], request.scope["query_string"]
    stores = dicomweb_rules.check(request.method, path, query)
    if not stores:
        return await frames.answer(path) or await orthanc.forward(request, path, query)
    # Read whole, not streamed: what a viewer stores is checked and repaired before the archive gets it.
    sent_as, creator = request.headers.get("content-type", ""), request.state.identity.name
    content, kind = await anyio.to_thread.run_sync(repair_stored, await request.body(), sent_as, creator)
    return await orthanc.forward(request, path, query, content=content, kind=kind)


async def _label(label: Server, request: Request) -> Response:
    path, query = request.path_params["path"], request.scope["query_string"]
    call = label_rules.find(request.method, path, request.query_params.multi_items())
    if call.body == "none":
        return await label.forward(request, path, query)
    if call.body == "json":
        parameters = json.dumps(label_rules.check_parameters(await request.body())).encode()
        return await label.forward(request, path, query, content=parameters, kind="application/json")
    async with AsyncExitStack() as closing:
        if request.headers.get("content-type", "").startswith(("multipart/form-data", "application/x-www-form")):
            form = await closing.enter_async_context(
                request.form(max_files=1, max_fields=8, max_part_size=_MOST_PARAMETERS)
            )
        else:
            raise bad_value("A body of another type.", "This call takes a form (multipart/form-data).")
        data, files = _form(call, form.multi_items(), request)
        return await label.forward(request, path, query, data=data, files=files)


def _form(call: label_rules.Call, items: list[tuple[str, Any]], request: Request) -> tuple[dict, dict]:
    """The fields and files of a form that may pass, the fields checked and the files under names of ours."""
    if len({name for name, _ in items}) != len(items):
        raise bad_value("A field that stands in the form twice.", "Each may stand there once.")
    data: dict[str, str] = {}
    files: dict[str, tuple[str, Any, str]] = {}
    for name, value in items:
        if isinstance(value, UploadFile) and name in call.files:
            files[name] = label_rules.file_name(value.filename), value.file, "application/octet-stream"
        elif isinstance(value, str) and name == "params":
            data[name] = json.dumps(_signed(label_rules.check_parameters(value), request))
        elif isinstance(value, str) and name in call.numbers and value.isdigit() and len(value) < 10:
            data[name] = value
        elif name != "client_id":  # MONAI Label's client sends it along with a session; nothing reads it
            raise bad_value(
                "A field that this call does not have.", f"It has: {', '.join(('params', *call.files, *call.numbers))}."
            )
    return data, files


def _signed(parameters: dict[str, Any], request: Request) -> dict[str, Any]:
    """The parameters of a form with the name of who sends it, which the datastores write into what they store."""
    return {**parameters, "user": request.state.identity.name}


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refusal = Refusal(error.status_code, "refused", f"{error.detail}.", rule="", remedy="Correct the request.")
    return refusal.response()


async def _failure(_: Request, __: Exception) -> Response:
    """What went wrong is in the gateway's log, not in the answer."""
    return Refusal(500, "failure", "The gateway failed.", rule="", remedy="Look into its log.").response()
