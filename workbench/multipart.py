"""Multipart bodies of DICOMweb (PS3.18 section 8.6.1.2)."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4


def related(parts: Iterable[bytes], kind: str, parameters: str = "") -> tuple[bytes, str]:
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
