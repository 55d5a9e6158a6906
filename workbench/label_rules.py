"""Which calls of MONAI Label's REST API pass the gateway, and what their parameters may hold.

MONAI Label takes ids and tags as parts of paths on its disk, opens any file that ``image`` names, merges the JSON
of a request over what the address said, unpacks archives, and accepts models and scripts of strangers. So the
gateway passes on what viewers need, value by value, and nothing that it has not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.refusal import bad_value, not_allowed

# One component of a path without meaning to a file system or a shell: series UIDs, cases, models, tags, strategies.
_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SESSION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FLAG = re.compile(r"true|false")
_NUMBER = re.compile(r"[0-9]{1,6}")
_CORRECTED = re.compile(r"(?:final)?")  # what people save; the tags of models' results are the server's own
_WHAT = "a name of letters, digits, '_', '-' and '.', without '..', 128 characters at most"

# The keys that say which case, model or method is meant, and who asks: the address and the credential say so, checked;
# JSON would override them.
_RESERVED = {
    "image",
    "image_id",
    "images",
    "label_file",
    "model",
    "method",
    "session",
    "session_id",
    "strategy",
    "output",
    "user",
}
_MOST_DEPTH = 6
SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha")  # of volumes that viewers send


@dataclass(frozen=True)
class Call:
    """One call that may pass: ``method`` and ``path``, whose groups are named after what they hold."""

    method: str
    path: re.Pattern[str]
    query: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    body: Literal["none", "json", "form"] = "none"
    files: tuple[str, ...] = ()  # fields of the form that hold a file
    numbers: tuple[str, ...] = ()  # fields of the form that hold a whole number


def _path(text: str) -> re.Pattern[str]:
    return re.compile(text.replace("{name}", r"(?P<name>[^/]+)").replace("{session}", r"(?P<session>[^/]+)"))


CALLS = (
    Call("GET", _path("info/")),
    Call("POST", _path("activelearning/{name}"), body="json"),
    Call("GET", _path("infer/")),
    Call("DELETE", _path("infer/")),
    Call(
        "POST",
        _path("infer/{name}"),
        body="form",
        files=("label",),
        query={"image": _NAME, "session_id": _SESSION, "output": re.compile("image|json|all")},
    ),
    Call("GET", _path("datastore/"), query={"output": re.compile("all|stats")}),
    Call("PUT", _path("datastore/"), query={"image": _NAME}, required=("image",), body="form", files=("file",)),
    Call("PUT", _path("datastore/image"), query={"image": _NAME}, required=("image",), body="form", files=("file",)),
    Call("GET", _path("datastore/image"), query={"image": _NAME}, required=("image",)),
    Call("HEAD", _path("datastore/image"), query={"image": _NAME}, required=("image",)),
    Call("GET", _path("datastore/image/info"), query={"image": _NAME}, required=("image",)),
    Call("GET", _path("datastore/label"), query={"label": _NAME, "tag": _NAME}, required=("label", "tag")),
    Call("HEAD", _path("datastore/label"), query={"image": _NAME, "tag": _NAME}, required=("image", "tag")),
    Call("GET", _path("datastore/label/info"), query={"label": _NAME, "tag": _NAME}, required=("label", "tag")),
    Call(
        "PUT",
        _path("datastore/label"),
        query={"image": _NAME, "tag": _CORRECTED},
        required=("image",),
        body="form",
        files=("label",),
    ),
    Call("PUT", _path("session/"), body="form", files=("files",), numbers=("expiry",)),
    Call("GET", _path("session/{session}")),
    Call("DELETE", _path("session/{session}")),
    Call("GET", _path("train/"), query={"all": _FLAG, "check_if_running": _FLAG}),
    Call("POST", _path("train/{name}"), query={"enqueue": _FLAG}, body="json"),
    Call("DELETE", _path("train/")),
)


def find(method: str, path: str, query: list[tuple[str, str]]) -> Call:
    """The call that a request makes, its path and query checked.

    Parameters
    ----------
    path : below the server's root, percent-decoded
    query : names and values, decoded

    Raises
    ------
    Refusal
        For a call that is not among ``CALLS``, and for a value that is not of its form.
    """
    found = next(((c, m) for c in CALLS if c.method == method and (m := c.path.fullmatch(path))), None)
    if found is None:
        raise not_allowed(f"A {method} request to a path of MONAI Label that is closed.")
    call, match = found
    for name, value in match.groupdict().items():
        form = _SESSION if name == "session" else _NAME
        if not form.fullmatch(value):
            raise bad_value(f"A {name} in the path of another form.", f"It is {_WHAT}.")
    _check_query(call, query)
    return call


def _check_query(call: Call, query: list[tuple[str, str]]) -> None:
    names = [name for name, _ in query]
    if len(set(names)) != len(names):
        raise bad_value("A parameter that stands in the address twice.", "Each may stand there once.")
    for name, value in query:
        if name not in call.query:
            raise bad_value("A parameter that this call does not have.", f"It has: {', '.join(call.query) or 'none'}.")
        # MONAI Label's own clients send empty values for what they leave out.
        if not call.query[name].fullmatch(value) and (value or name in call.required):
            raise bad_value(f"A value of `{name}` that is not of its form.", f"It is one foreseen, or {_WHAT}.")
    missing = [name for name in call.required if name not in names]
    if missing:
        raise bad_value(f"A call without `{missing[0]}`.", "It must be given.")


def check_parameters(text: str | bytes) -> dict[str, Any]:
    """The JSON object that a client sends as parameters of a model, a strategy or a training.

    Raises
    ------
    Refusal
        For what is no JSON object, a key that would override the address, and a text that could name a file.
    """
    try:
        parameters = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise bad_value("Parameters that are no JSON.", "They are a JSON object.") from None
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise bad_value("Parameters that are no JSON object.", "They are a JSON object.")
    reserved = sorted(_RESERVED & parameters.keys())
    if reserved:
        raise bad_value(f"Parameters with the key `{reserved[0]}`.", "The address and the login say it, JSON does not.")
    _check_value(parameters, _MOST_DEPTH)
    return parameters


def _check_value(value: Any, depth: int) -> None:
    if depth == 0:
        raise bad_value("Parameters that are nested too deeply.", f"{_MOST_DEPTH} levels are the most.")
    if isinstance(value, str) and (any(c in value for c in "/\\\0") or ".." in value):
        raise bad_value("Parameters with a text that could name a file.", "No text may hold '/', '\\', NUL or '..'.")
    for inner in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_value(inner, depth - 1)


def file_name(sent: str | None) -> str:
    """A name for an uploaded volume: ours, with the suffix that the client's has.

    Raises
    ------
    Refusal
        For a suffix that is none of ``SUFFIXES``.
    """
    suffix = next((s for s in SUFFIXES if (sent or "").lower().endswith(s)), None)
    if suffix is None:
        raise bad_value("A file of another kind.", f"Volumes are sent as {', '.join(SUFFIXES)}.")
    return f"volume{suffix}"
