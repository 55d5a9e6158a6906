"""Multipart bodies of DICOMweb (PS3.18 section 8.6.1.2)."""

from __future__ import annotations

from collections.abc import Iterable
from email.message import Message
from uuid import uuid4

_MOST_HEAD = 4096  # bytes of a part's header


def encode(parts: Iterable[bytes], kind: str, parameters: str = "") -> tuple[bytes, str]:
    """Parts of one kind as one body, and its content type.

    Parameters
    ----------
    kind : media type of each part, such as application/dicom
    parameters : of each part's content type, such as ``; transfer-syntax=1.2.840.10008.1.2.1``
    """
    boundary = uuid4().hex
    head = f"--{boundary}\r\nContent-Type: {kind}{parameters}\r\n\r\n".encode()
    body = b"".join(head + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
    return body, f'multipart/related; type="{kind}"; boundary={boundary}'


def decode(body: bytes, content_type: str, most_parts: int) -> list[bytes]:
    """The contents of a body's parts.

    Readers of libraries are not used: they make objects of each part and of each line of a part's header, however
    many there are.

    Raises
    ------
    ValueError
        For a body that is not multipart or not of this content type, and for one with more parts than ``most_parts``.
    """
    kind = Message()
    kind["content-type"] = content_type
    boundary = kind.get_boundary()
    if kind.get_content_maintype() != "multipart" or not boundary:
        raise ValueError("not a multipart body")
    mark = b"\r\n--" + boundary.encode("ascii")
    at = len(mark) - 2 if body.startswith(mark[2:]) else _after(body, mark, 0)
    parts: list[bytes] = []
    while not body.startswith(b"--", at):
        if len(parts) == most_parts:
            raise ValueError("too many parts")
        start = _after(body, b"\r\n\r\n", at, at + _MOST_HEAD)
        end = _after(body, mark, start)
        parts.append(body[start : end - len(mark)])
        at = end
    return parts


def _after(body: bytes, sought: bytes, start: int, end: int | None = None) -> int:
    found = body.find(sought, start, end)
    if found < 0:
        raise ValueError("not a multipart body")
    return found + len(sought)
