"""Which calls pass the gateway, and what they may hold: one table for the archive and the models.

The archive is read by QIDO-RS and WADO-RS and stored to by STOW-RS (PS3.18 chapter 10); nothing deletes.

MONAI Label takes ids and tags as parts of paths on its disk, opens any file that ``image`` names, merges the JSON
of a request over what the address said, unpacks archives, and accepts models and scripts of strangers. So the
gateway passes on what viewers need, value by value, and nothing that it has not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.datastructures import QueryParams, UploadFile

from workbench.refusal import Refusal, bad_value, not_allowed

# PS3.5 section 9.1: components of digits without leading zeros, 64 characters in all.
_UID = r"(?=[0-9.]{1,64}(?:/|\Z))(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*"
_FRAMES = r"[1-9][0-9]{0,5}(?:,[1-9][0-9]{0,5}){0,999}"
# An attribute below an instance, as Orthanc names bulk data.
_BULK = r"[0-9a-fA-F]{8}(?:/[1-9][0-9]{0,5}/[0-9a-fA-F]{8}){0,8}"
# One component of a path without meaning to a file system or a shell: series UIDs, cases, models, tags, strategies.
_NAME = r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
_FLAG = r"true|false"
_FORMS = {"uid": _UID, "frames": _FRAMES, "bulk": _BULK, "name": _NAME}
_NAME_RULE = "It is one foreseen, or a name of letters, digits, '_', '-' and '.', without '..', of at most 128."

# Of DICOMweb's own parameters (PS3.18 sections 8.3.4 and 8.3.5). Orthanc 1.10 answers numbers below zero with 500, and
# a viewport of 100,000 x 100,000 pixels ends it.
_DICOMWEB_FORMS = {
    "limit": "[0-9]{1,6}",
    "offset": "[0-9]{1,9}",
    "quality": "[0-9]{1,3}",
    "viewport": "[0-9]{1,4},[0-9]{1,4}(,[0-9]{1,5}){0,4}",
    "window": "[-+.0-9]{1,16},[-+.0-9]{1,16},[a-z-]{1,16}",
}

_MOST_QUERY = 8192  # bytes; OHIF's longest query, a list of study UIDs, is far below
_MOST_DEPTH = 6  # of nested JSON
_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd")  # of volumes that viewers send
# Keys that say which case, model or method is meant, and who asks. The address and the credential say so, checked;
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


@dataclass(frozen=True)
class Call:
    """One call that may pass.

    Parameters
    ----------
    methods : separated by blanks
    path : below the server's root, a regular expression in which {uid}, {name}, ... stand for their forms
    query : forms of the values, by their names; None for a query of DICOMweb, which may hold any keyword
    required : names in the query that must be there, with a value
    body : what it may hold; ``dicom`` is a multipart body of segmentations
    file : name of the form's field that holds a file
    """

    methods: str
    path: str
    query: Mapping[str, str] | None = field(default_factory=dict)
    required: tuple[str, ...] = ()
    body: Literal["none", "json", "form", "dicom"] = "none"
    file: str = ""

    def matches(self, method: str, path: str) -> bool:
        """Whether a request makes this call."""
        pattern = self.path.format_map({name: f"(?:{form})" for name, form in _FORMS.items()})
        return method in self.methods.split() and re.fullmatch(pattern, path) is not None


_SERIES = "studies/{uid}/series/{uid}"
_INSTANCE = "studies/{uid}/series/{uid}/instances/{uid}"
_IMAGE: dict[str, Any] = {"query": {"image": _NAME}, "required": ("image",)}
_LABEL: dict[str, Any] = {"query": {"label": _NAME, "tag": _NAME}, "required": ("label", "tag")}
TABLE = {
    "dicom-web": (
        Call("GET HEAD", "studies|series|instances", query=None),
        Call("GET HEAD", "studies/{uid}(/(metadata|series|instances))?", query=None),
        Call("GET HEAD", _SERIES + "(/(metadata|instances|rendered|thumbnail))?", query=None),
        Call("GET HEAD", _INSTANCE + "(/(metadata|rendered|thumbnail))?", query=None),
        Call("GET HEAD", _INSTANCE + "/frames/{frames}(/rendered)?", query=None),
        Call("GET HEAD", _INSTANCE + "/bulk/{bulk}", query=None),
        Call("POST", "studies(/{uid})?", query=None, body="dicom"),
    ),
    "monai": (
        Call("GET", "info/"),
        Call("GET DELETE", "infer/"),
        Call(
            "POST",
            "infer/{name}",
            query={"image": _NAME, "output": "image|json|all"},
            body="form",
            file="label",
        ),
        Call("POST", "activelearning/{name}", body="json"),
        Call("GET", "train/", query={"all": _FLAG, "check_if_running": _FLAG}),
        Call("POST", "train/{name}", query={"enqueue": _FLAG}, body="json"),
        Call("DELETE", "train/"),
        Call("GET", "datastore/", query={"output": "all|stats"}),
        Call("PUT", "datastore/(image)?", **_IMAGE, body="form", file="file"),
        Call("GET HEAD", "datastore/image", **_IMAGE),
        Call("GET", "datastore/image/info", **_IMAGE),
        Call("GET", "datastore/label(/info)?", **_LABEL),
        Call("HEAD", "datastore/label", query={"image": _NAME, "tag": _NAME}, required=("image", "tag")),
        Call(
            "PUT",
            "datastore/label",
            query={"image": _NAME, "tag": "final"},  # what people save; other tags are those of models' results
            required=("image",),
            body="form",
            file="label",
        ),
    ),
}


def find(server: str, method: str, path: str, query: bytes) -> Call:
    """The call that a request makes, its path and query checked.

    Parameters
    ----------
    server : a key of ``TABLE``
    path : below the server's root, percent-decoded; a path that passes holds nothing that would need an escape
    query : as it came; it is passed on unchanged

    Raises
    ------
    Refusal
        For a call that is not in the table, and for a query that is too long or not of its form.
    """
    call = next((call for call in TABLE[server] if call.matches(method, path)), None)
    if call is None:
        raise not_allowed(f"A {method} request to a path of /{server}/ that is closed, or not of its form.")
    if len(query) > _MOST_QUERY:
        found, rule = f"A query of {len(query)} bytes.", f"{_MOST_QUERY} bytes are the most."
        raise Refusal(414, "too-long", found, rule, "Ask for fewer studies at once.")
    items = QueryParams(query).multi_items()
    if call.query is not None:
        _check_query(call.query, call.required, items)
    elif any(not re.fullmatch(_DICOMWEB_FORMS.get(name, ".*"), value, re.DOTALL) for name, value in items):
        raise bad_value("A parameter that is not of its form.", f"There are {', '.join(_DICOMWEB_FORMS)}.")
    return call


def with_plain_lists(query: bytes) -> bytes:
    """A query of DICOMweb whose ``includefield`` has commas as they are: Orthanc 1.10 does not decode escaped ones."""
    return re.sub(rb"(?<![^&])includefield=[^&]*", lambda field: re.sub(rb"(?i)%2c", b",", field[0]), query)


def _check_query(forms: Mapping[str, str], required: tuple[str, ...], items: list[tuple[str, str]]) -> None:
    _check_once([name for name, _ in items])
    for name, value in items:
        if name not in forms:
            raise bad_value("A parameter that this call does not have.", f"It has: {', '.join(forms) or 'none'}.")
        # MONAI Label's own clients send empty values for what they leave out.
        if not re.fullmatch(forms[name], value) and (value or name in required):
            raise bad_value(f"A value of `{name}` that is not of its form.", _NAME_RULE)
    missing = set(required) - {name for name, _ in items}
    if missing:
        raise bad_value(f"A call without `{min(missing)}`.", "It must be given.")


def check_parameters(text: str | bytes) -> dict[str, Any]:
    """The JSON object that a client sends as parameters of a model, a strategy or a training.

    Raises
    ------
    Refusal
        For what is not a JSON object, a key that would override the address, and a text that could name a file.
    """
    try:
        parameters = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise bad_value("Parameters that are not JSON.", "They are a JSON object.") from None
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        raise bad_value("Parameters that are not a JSON object.", "They are a JSON object.")
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


def check_form(call: Call, items: Iterable[tuple[str, str | UploadFile]], user: str) -> tuple[dict, dict]:
    """The fields and files of a form that may pass: the fields checked, the files under names of ours.

    Parameters
    ----------
    user : who is logged in; the datastores write the name into what they store

    Returns
    -------
    tuple
        ``data`` and ``files`` as httpx2 takes them.

    Raises
    ------
    Refusal
        For a field that the call does not have or that stands there twice, and for a value that is not of its form.
    """
    items = list(items)
    _check_once([name for name, _ in items])
    data: dict[str, str] = {}
    files: dict[str, tuple[str, Any, str]] = {}
    for name, value in items:
        if isinstance(value, UploadFile) and name == call.file:
            files[name] = _volume_name(value.filename or ""), value.file, "application/octet-stream"
        elif isinstance(value, str) and name == "params":
            data[name] = json.dumps({**check_parameters(value), "user": user})
        else:
            known = ", ".join(filter(None, ("params", call.file)))
            raise bad_value("A field that this call does not have.", f"It has: {known}.")
    return data, files


def _check_once(names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise bad_value("A name that stands there twice.", "Each parameter or field may stand there once.")


def _volume_name(sent: str) -> str:
    """A name for an uploaded volume: ours, with the suffix that the client's has."""
    suffix = next((suffix for suffix in _SUFFIXES if sent.lower().endswith(suffix)), None)
    if suffix is None:
        raise bad_value("A file of another kind.", f"Volumes are sent as {', '.join(_SUFFIXES)}.")
    return f"volume{suffix}"
