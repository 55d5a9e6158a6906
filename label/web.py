"""MONAI Label's web application with what it lacks: see ``app``. Its settings are read when it is imported."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated, Any, Literal, cast
from uuid import uuid4

from fastapi import BackgroundTasks, Depends, FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from monailabel.app import app as _monai_label
from monailabel.config import settings
from monailabel.endpoints import activelearning, datastore, info, train
from monailabel.endpoints.infer import send_response
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.utils.app import app_instance

from acuity.errors import AcuityError, ArchiveError, InputNotFoundError, ModelError, OutputError
from label.learning.training import STATUS
from label.status import RUNNING, case_status, training_status
from label.uploads import received

# The calls of MONAI Label that stay as they are.
_THEIRS = {
    ("/info/", "GET"),
    ("/datastore/", "GET"),
    ("/datastore/image", "GET"),
    ("/datastore/image", "HEAD"),
    ("/datastore/image/info", "GET"),
    ("/datastore/label", "GET"),
    ("/datastore/label", "HEAD"),
    ("/datastore/label/info", "GET"),
    ("/train/", "DELETE"),
}
_RESERVED = ("model", "image", "image_id", "session", "label_file")  # the address says these, not the parameters


def infer(
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    label: Annotated[UploadFile | None, File()] = None,
    output: Literal["image", "json", "all"] | None = None,
) -> Any:
    """Run a task on a case, as MONAI Label's ``/infer/{model}``; on a thread, so that others are answered meanwhile.

    Unlike there, the parameters cannot stand in for the model, the case or a file.
    """
    asked = _parameters(params)
    if any(key in asked for key in _RESERVED):
        raise HTTPException(422, f"The parameters are a JSON object without {', '.join(_RESERVED)}.")
    request = {**asked, "model": model, "image": image}
    if session_id or file is not None:
        request["session"] = session_id
    instance = app_instance()
    with nullcontext() if label is None else received(label.file, label.filename) as path:
        result = instance.infer(request if path is None else request | {"label_file": path})
    if result["file"] is None:
        return result["params"]
    return send_response(instance.datastore(), result, output, background_tasks)


def save_label(
    image: str,
    label: Annotated[UploadFile, File()],
    tag: str = DefaultLabelTag.FINAL.value,
    params: Annotated[str, Form()] = "{}",
) -> Any:
    """Save a label, as MONAI Label's ``PUT /datastore/label``; on a thread. A refused upload is not kept."""
    with received(label.file, label.filename) as path:
        saved = (
            app_instance()
            .datastore()
            .save_label(image, str(path), tag or DefaultLabelTag.FINAL.value, _parameters(params))
        )
    return {"image": image, "label": saved}


def add_image(image: str, file: Annotated[UploadFile, File()], params: Annotated[str, Form()] = "{}") -> Any:
    """Add an image, as MONAI Label's ``PUT /datastore/image``; on a thread. A refused upload is not kept."""
    with received(file.file, file.filename) as path:
        return {"image": app_instance().datastore().add_image(image, str(path), _parameters(params))}


def next_sample(strategy: str, params: dict[str, Any] | None = None) -> Any:
    """The next case to annotate, as MONAI Label's ``/activelearning/{strategy}``; on a thread."""
    found = activelearning.sample(strategy, {**(params or {}), "strategy": strategy})
    return {name: value for name, value in found.items() if name != "path"}  # of this computer's disk


def case(image: str) -> dict[str, Any]:
    """The ``label.status.CaseStatus`` of the case that an image belongs to."""
    store: Any = app_instance().datastore()
    return asdict(case_status(lambda: store.get_image_info(image)))


def inference() -> dict[str, Any]:
    """The ``label.status.Status`` of the inference that is going on, its steps in percent."""
    status = RUNNING.status()
    if status is None:
        raise HTTPException(404, "No inference is going on.")
    return asdict(status)


def stop() -> dict[str, bool]:
    """Stop the inference that is going on, at its next step."""
    return {"stopped": RUNNING.stop()}


def start_training(
    model: str, params: dict[str, Any] | None = None, run_sync: bool = False, enqueue: bool = False
) -> Any:
    """Start a training, as MONAI Label's ``/train/{model}``; its name tells its status from that of an earlier one."""
    return train.run_model(model, {**(params or {}), "run": uuid4().hex}, run_sync, enqueue)


def training(all: bool = False, check_if_running: bool = False) -> Any:
    """The last training, as MONAI Label's ``/train/``, with its ``label.status.Status`` as "progress"."""
    task = train.status(all, check_if_running)
    if not isinstance(task, dict):
        return task
    file = app_instance().served.versions.folder / STATUS
    status = training_status(file, str(task["request"].get("run", "")), task["status"])
    return {**task, "progress": asdict(status)}


def status_of(error: AcuityError) -> int:
    """The HTTP status of a refusal: 404 where nothing is there, 502 for the archive, 500 for faults of the server."""
    if isinstance(error, ArchiveError):
        return 502
    if isinstance(error, InputNotFoundError):
        return 404
    return 500 if isinstance(error, ModelError | OutputError) else 422


def _parameters(text: str) -> dict[str, Any]:
    found = json.loads(text or "{}")
    if not isinstance(found, dict):
        raise HTTPException(422, "The parameters are a JSON object.")
    return found


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AcuityError)
    content = {
        "detail": str(error),
        "code": error.code,
        "found": error.found,
        "rule": error.rule,
        "remedy": error.remedy,
    }
    return JSONResponse(content, status_of(error))


def _not_understood(request: Request, error: Exception) -> Response:
    detail = error.msg if isinstance(error, MONAILabelException) else "The request holds JSON that is not valid."
    return JSONResponse({"detail": detail}, 400)


def _completed(application: FastAPI) -> FastAPI:
    application.add_exception_handler(AcuityError, _refused)
    application.add_exception_handler(MONAILabelException, _not_understood)
    application.add_exception_handler(json.JSONDecodeError, _not_understood)
    # Viewers come through a gateway of the same origin. MONAI Label lets any site in, with the user's credentials; its
    # own setting for it breaks the processes that it starts.
    kept = [one for one in application.user_middleware if cast(object, one.cls) is not CORSMiddleware]
    application.user_middleware = kept
    user, annotator, admin = (
        [Depends(RBAC(role))]
        for role in (
            settings.MONAI_LABEL_AUTH_ROLE_USER,
            settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR,
            settings.MONAI_LABEL_AUTH_ROLE_ADMIN,
        )
    )
    application.router.redirect_slashes = False
    theirs = [
        route
        for router in (info.router, datastore.router, train.router)
        for route in router.routes
        if isinstance(route, APIRoute) and (route.path, "".join(route.methods or ())) in _THEIRS
    ]
    # In the place of MONAI Label's own, which run on the event loop and block it, and instead of all others: they open
    # any path, unpack archives, and take models of strangers.
    application.router.routes[:] = [
        *theirs,
        APIRoute("/case/", case, methods=["GET"], dependencies=user),
        APIRoute("/infer/", inference, methods=["GET"], dependencies=user),
        APIRoute("/infer/", stop, methods=["DELETE"], dependencies=user),
        APIRoute("/infer/{model}", infer, methods=["POST"], dependencies=user, response_model=None),
        APIRoute("/datastore/label", save_label, methods=["PUT"], dependencies=annotator, response_model=None),
        *(
            APIRoute(path, add_image, methods=["PUT"], dependencies=annotator, response_model=None)
            for path in ("/datastore/", "/datastore/image")
        ),
        APIRoute("/activelearning/{strategy}", next_sample, methods=["POST"], dependencies=user, response_model=None),
        APIRoute("/train/", training, methods=["GET"], dependencies=user, response_model=None),
        APIRoute("/train/{model}", start_training, methods=["POST"], dependencies=admin, response_model=None),
    ]
    return application


app = _completed(_monai_label)
"""The application. Acuity's refusals are answered with found, rule and remedy; ``GET /case/`` says whether a case is
complete, ``GET /infer/`` and ``GET /train/`` how far an inference and a training are, and ``DELETE`` stops them."""
