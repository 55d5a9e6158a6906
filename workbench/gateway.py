"""The gateway: one origin for OHIF, Orthanc's DICOMweb and MONAI Label, open to those who are logged in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workbench import rules
from workbench.added import Added
from workbench.forward import Server, make_client
from workbench.guard import Guard
from workbench.identity import Sessions, SharedToken, Verifier
from workbench.login import OPEN_PATHS, Login
from workbench.oidc import OidcVerifier
from workbench.one_bit_frames import OneBitFrames
from workbench.refusal import Refusal, bad_value
from workbench.replaced import Replaced
from workbench.saved_segmentation import SavedSegmentations
from workbench.settings import Settings
from workbench.viewer import Viewer

_KIB, _MIB = 1 << 10, 1 << 20
# Most bytes of a body: a segmentation of 512 x 512 x 400 voxels takes 39 MiB, a volume of as many in floats 400.
_LIMITS = {
    "/": 64 * _KIB,
    "/dicom-web/": 64 * _MIB,
    "/add": 512 * _MIB,
    "/monai/": 64 * _KIB,
    "/monai/infer/": 512 * _MIB,
    "/monai/datastore/": 512 * _MIB,
}
_MOST_PARAMETERS = _MIB  # bytes of JSON in a form
_ORTHANC_S, _LABEL_S = 300.0, 3600.0  # a study is super-resolved and segmented in minutes on a small computer
_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
_FORMS = ("multipart/form-data", "application/x-www-form")


def create_app(
    settings: Settings, viewer: Path, token: str, transport: httpx2.AsyncBaseTransport | None = None
) -> Starlette:
    """The gateway as an ASGI application.

    Parameters
    ----------
    viewer : OHIF's distribution
    token : of all who use it, where the settings name no identity provider
    transport : how the servers are reached; by the network unless given
    """
    client, public, sessions = make_client(transport), settings.url, Sessions()
    verifier: Verifier = SharedToken(token, settings.annotator)
    if settings.oidc is not None:
        verifier = OidcVerifier(settings.oidc, transport)
    cookie = f"acuity-{urlsplit(public).port or 443}"  # cookies know no ports: two workbenches must not meet
    orthanc = Server("Orthanc", settings.dicomweb, client, seconds=_ORTHANC_S, public_url=public)
    own = Server("Orthanc", settings.orthanc, client, seconds=_ORTHANC_S, public_url=public)
    archive = orthanc, OneBitFrames(orthanc), (saved := SavedSegmentations(orthanc))
    label = Server("MONAI Label", settings.label_address, client, seconds=_LABEL_S, public_url=public)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    return Starlette(
        routes=[
            Route("/health", _health),
            *Login(verifier, sessions, cookie=cookie, public_url=public).routes(),
            Route("/dicom-web/{path:path}", partial(_dicomweb, *archive), methods=_METHODS),
            Route("/monai/{path:path}", partial(_label, label, Replaced(orthanc, own)), methods=_METHODS),
            Route("/add", Added(orthanc, own, saved).answer, methods=["GET", "POST"]),
            Route("/{path:path}", Viewer(viewer).answer, methods=["GET"]),
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
        exception_handlers={Refusal: _refusal, HTTPException: _http_error, Exception: _failure},
        lifespan=lifespan,
    )


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _dicomweb(orthanc: Server, frames: OneBitFrames, saved: SavedSegmentations, request: Request) -> Response:
    path, query = _target(request)
    call = rules.find("dicom-web", request.method, path, query)
    if call.body == "none":
        return await frames.answer(path) or await orthanc.forward(request, path, rules.with_plain_lists(query))
    return await saved.store(request, path, query)


async def _label(label: Server, replaced: Replaced, request: Request) -> Response:
    path, query = _target(request)
    call = rules.find("monai", request.method, path, query)
    if call.body == "none":
        return await label.forward(request, path, query)
    if call.body == "json":
        parameters = json.dumps(rules.check_parameters(await request.body())).encode()
        return await label.forward(request, path, query, content=parameters, kind="application/json")
    if not request.headers.get("content-type", "").startswith(_FORMS):
        raise bad_value("A body of another type.", "This call takes a form (multipart/form-data).")
    async with request.form(max_files=1, max_fields=8, max_part_size=_MOST_PARAMETERS) as form:
        data, files = rules.check_form(call, form.multi_items(), request.state.identity.name)
        answer = partial(label.forward, request, path, query, data=data, files=files)
        asked = request.query_params.get("image", "") if path.startswith("infer/") else ""
        return await replaced.infer(asked, answer)


def _target(request: Request) -> tuple[str, bytes]:
    """Path below the server's root and query; Starlette's own path parameter would lose a newline at the end."""
    return request.scope["path"].split("/", 2)[2], request.scope["query_string"]


async def _refusal(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return refusal.response()


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Refusal(error.status_code, "refused", f"{error.detail}.", "", "Correct the request.").response()


async def _failure(_: Request, __: Exception) -> Response:
    """What went wrong is in the gateway's log, not in the answer."""
    return Refusal(500, "failure", "The gateway failed.", "", "Look into its log.").response()
