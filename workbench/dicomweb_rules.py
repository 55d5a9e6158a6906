"""Which DICOMweb calls pass the gateway: QIDO-RS and WADO-RS to read, STOW-RS to store; nothing that deletes."""

from __future__ import annotations

import re

from workbench.refusal import Refusal, bad_value, not_allowed

# PS3.5 section 9.1: components of digits without leading zeros, 64 characters in all.
_UID = re.compile(r"(?=.{1,64}\Z)(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")
_MOST_QUERY = 8192  # bytes; OHIF's longest query, a list of study UIDs, is far below

# Templates of PS3.18 chapter 10: {} stands for a UID, {frames} for a list of frame numbers, {bulk} for the path of
# an attribute below an instance, as Orthanc names bulk data.
_READ = (
    "studies",
    "series",
    "instances",
    "studies/{}/series",
    "studies/{}/instances",
    "studies/{}/series/{}/instances",
    "studies/{}",
    "studies/{}/metadata",
    "studies/{}/series/{}",
    "studies/{}/series/{}/metadata",
    "studies/{}/series/{}/rendered",
    "studies/{}/series/{}/thumbnail",
    "studies/{}/series/{}/instances/{}",
    "studies/{}/series/{}/instances/{}/metadata",
    "studies/{}/series/{}/instances/{}/rendered",
    "studies/{}/series/{}/instances/{}/thumbnail",
    "studies/{}/series/{}/instances/{}/frames/{frames}",
    "studies/{}/series/{}/instances/{}/frames/{frames}/rendered",
    "studies/{}/series/{}/instances/{}/bulk/{bulk}",
)
_STORE = ("studies", "studies/{}")


def _pattern(template: str) -> re.Pattern[str]:
    text = re.escape(template).replace(r"\{\}", r"([^/]+)")
    text = text.replace(r"\{frames\}", r"[1-9][0-9]{0,5}(?:,[1-9][0-9]{0,5}){0,999}")
    return re.compile(text.replace(r"\{bulk\}", r"[0-9a-fA-F]{8}(?:/[1-9][0-9]{0,5}/[0-9a-fA-F]{8}){0,8}"))


_READ_PATTERNS = tuple(map(_pattern, _READ))
_STORE_PATTERNS = tuple(map(_pattern, _STORE))


def is_uid(text: str) -> bool:
    """Whether the text is a UID of DICOM."""
    return _UID.fullmatch(text) is not None


def check(method: str, path: str, query: bytes) -> bool:
    """Let a call pass or refuse it.

    Parameters
    ----------
    path : below the service's root, percent-decoded: what passes holds nothing that would need an escape
    query : as it came, it is passed on unchanged

    Returns
    -------
    bool
        Whether the call stores (True) or reads (False).

    Raises
    ------
    Refusal
        For another method or path, a UID that is none, and a query that is too long.
    """
    if method not in ("GET", "HEAD", "POST"):
        raise not_allowed(f"A DICOMweb request of method {method}.")
    patterns = _STORE_PATTERNS if method == "POST" else _READ_PATTERNS
    match = next((m for p in patterns if (m := p.fullmatch(path))), None)
    if match is None:
        raise not_allowed(f"A {method} request to a DICOMweb path of another form.")
    if not all(map(is_uid, match.groups())):
        raise bad_value(
            "A DICOMweb path with something else in the place of a UID.",
            "A UID is digits and dots, 64 characters at most (PS3.5 section 9.1).",
        )
    if len(query) > _MOST_QUERY:
        raise Refusal(
            414,
            "too-long",
            f"A query of {len(query)} bytes.",
            rule=f"{_MOST_QUERY} bytes are the most.",
            remedy="Ask for fewer studies at once.",
        )
    return method == "POST"
