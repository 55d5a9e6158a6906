"""Multipart bodies of DICOMweb (PS3.18 section 8.6.1.2)."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from requests_toolbelt.multipart.decoder import (
    ImproperBodyPartContentException,
    MultipartDecoder,
    NonMultipartContentTypeException,
)


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


def decode(body: bytes, content_type: str) -> list[bytes]:
    """The contents of a body's parts.

    Raises
    ------
    ValueError
        For a body that is not multipart, or not of this content type.
    """
    try:
        return [part.content for part in MultipartDecoder(body, content_type).parts]
    except (ImproperBodyPartContentException, NonMultipartContentTypeException) as error:
        raise ValueError("not a multipart body") from error
