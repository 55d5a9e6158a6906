"""A request passed on to a server behind the gateway, and its answer passed back, both as streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from workbench.refusal import Refusal

# What the servers may know of a request, and the browser of an answer. No credential, nothing that a proxy says of a
# client, no permission for other origins, and nothing that holds for one connection only (RFC 9110 section 7.6.1).
_REQUEST_HEADERS = {"accept", "accept-encoding", "accept-language", "if-modified-since", "if-none-match", "range"}
_ANSWER_HEADERS = {
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-length",
    "etag",
    "last-modified",
    "warning",
}


class Server:
    """One server behind the gateway.

    Parameters
    ----------
    name : for messages
    address : its root, without a slash at the end
    client : without a pool of connections, see ``make_client``
    seconds : how long it may be silent before it is given up
    public_url : of the gateway; Orthanc makes the addresses of bulk data of it
    """

    def __init__(self, name: str, address: str, client: httpx2.AsyncClient, *, seconds: float, public_url: str) -> None:
        self.name, self._address, self._client = name, address, client
        self._timeout = httpx2.Timeout(seconds, connect=5.0)
        public = urlsplit(public_url)
        # Without the quotes that RFC 7239 wants around a port: Orthanc 1.10 takes them for a part of the name.
        self._forwarded = f"host={public.netloc};proto={public.scheme}"

    async def forward(self, request: Request, path: str, query: bytes, *, kind: str = "", **body: Any) -> Response:
        """Pass on a request whose method, path and query have been checked.

        Parameters
        ----------
        path : below the server's root, of characters that need no escape
        kind : type of the content; a form has its own
        body : ``content``, or ``files`` and ``data`` of a form, as httpx2 takes them; without any the request goes
            without a body, whatever Content-Length says: MONAI Label's client sends that of the request before

        Raises
        ------
        Refusal
            Where the server does not answer, or sends the client elsewhere.
        """
        headers = {k: v for k, v in request.headers.items() if k in _REQUEST_HEADERS}
        headers |= {"forwarded": self._forwarded} | ({"content-type": kind} if kind else {})
        headers.setdefault("accept-encoding", "identity")  # httpx2 would ask for gzip, which this client may not read
        answer = await self._send(request.method, path, query, headers, **body)
        if answer.is_redirect:
            await answer.aclose()
            found = f"{self.name} sends the request elsewhere."
            raise Refusal(
                502, "redirect", found, "A request that passes the gateway must be answered behind it.", "Report this."
            )
        kept = {k: v for k, v in answer.headers.items() if k in _ANSWER_HEADERS}
        return StreamingResponse(_stream(answer), answer.status_code, {**kept, "cache-control": "no-store"})

    async def read(self, path: str, query: bytes, accept: str) -> httpx2.Response:
        """Read a path of the server as a whole, for the gateway's own use.

        Raises
        ------
        Refusal
            Where it does not answer, or not with 200.
        """
        return await self.ask("GET", path, query=query, accept=accept)

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | AsyncIterator[bytes] = b"",
        *,
        query: bytes = b"",
        accept: str = "application/json",
        kind: str = "",
        length: int | None = None,
    ) -> httpx2.Response:
        """Ask the server for something in the gateway's own name; its whole answer.

        Parameters
        ----------
        kind : type of the content
        length : of the content, where it is a stream

        Raises
        ------
        Refusal
            Where it does not answer, or not with 200.
        """
        headers = {"accept": accept} | ({"content-type": kind} if kind else {})
        headers |= {} if length is None else {"content-length": str(length)}
        answer = await self._send(method, path, query, headers, **({"content": content} if content else {}))
        try:
            await answer.aread()
        except httpx2.HTTPError as error:
            raise self._unreachable() from error
        finally:
            await answer.aclose()
        if answer.status_code != 200:
            status, found = 502 if answer.status_code >= 500 else 404, f"{self.name} does not have it."
            raise Refusal(status, "not-there", found, "It must hold what the viewer asks for.", "Open the study again.")
        return answer

    async def _send(
        self, method: str, path: str, query: bytes, headers: dict[str, str], **body: Any
    ) -> httpx2.Response:
        url = httpx2.URL(f"{self._address}/{path}").copy_with(query=query or None)
        headers = {**headers, "connection": "close"}
        outgoing = self._client.build_request(method, url, headers=headers, timeout=self._timeout, **body)
        try:
            return await self._client.send(outgoing, stream=True)
        except httpx2.TimeoutException as error:
            found, remedy = f"{self.name} does not answer in time.", "Look into its log: python -m workbench status"
            rule = f"It must answer within {self._timeout.read:.0f} s."
            raise Refusal(504, "no-answer", found, rule, remedy) from error
        except httpx2.HTTPError as error:
            raise self._unreachable() from error

    def _unreachable(self) -> Refusal:
        found, remedy = f"{self.name} cannot be reached.", "Start the workbench again: python -m workbench up"
        return Refusal(502, "unreachable", found, "It must run.", remedy)


def make_client(transport: httpx2.AsyncBaseTransport | None = None) -> httpx2.AsyncClient:
    """A client that opens a connection for each request: Orthanc closes idle ones without a word."""
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=0)
    return httpx2.AsyncClient(transport=transport, limits=limits, trust_env=False, follow_redirects=False)


async def _stream(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        with anyio.CancelScope(shield=True):  # also when the browser has gone
            await answer.aclose()
