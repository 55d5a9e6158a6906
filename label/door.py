"""Who may reach the label server: a secret, the names of its host, no other site, and bounds of size and time.

A port on loopback is open to every account and program of the computer, and by way of a browser to web pages. So each
request shows a secret, as the first part of its path: 3D Slicer's module can send that, in its server address, and
nothing else without a dialog.
"""

from __future__ import annotations

import hmac
import os
import secrets
from asyncio import TimerHandle
from pathlib import Path
from typing import Any

import anyio
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from acuity.errors import OutputError

LOOPBACK = ("127.0.0.1", "localhost")
ARCHIVE_USER = "acuity"
"""Whom the workbench logs in to its archive as."""
MOST_REQUESTS = 64
"""At the same time; more are answered with 503."""
MOST_BYTES = 512 << 20
"""Of a request's body."""
HEADER_S, BODY_S, ANSWER_S = 10.0, 60.0, 60.0
"""Until the header of a request is there, and its body; and how long a client may take nothing of its answer."""


def read_or_make_secret(file: Path) -> str:
    """The secret in a file that only its owner can read; made where there is none.

    Raises
    ------
    OutputError : others can read or change the file, or it cannot be written
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with open(file, "x", opener=_private) as made:
                made.write(secrets.token_urlsafe(32) + "\n")
        except FileExistsError:
            pass
        text = file.read_text().strip()
        open_to_others = file.stat().st_mode & 0o077
    except OSError as error:
        raise _no_secret(f"It cannot be read or written ({type(error).__name__}).") from error
    if open_to_others or len(text) < 32 or not text.replace("-", "").replace("_", "").isalnum():
        raise _no_secret("Others can read it, or it holds no secret.")
    return text


class Door:
    """The application behind all checks of a request; what they refuse never reaches it.

    Parameters
    ----------
    app : to guard
    secret : first part of the path of each request
    hosts : names that requests may give the server, without port; the protection against DNS rebinding
    """

    def __init__(self, app: ASGIApp, secret: str, hosts: tuple[str, ...]) -> None:
        self._app, self._secret = app, secret
        self._checked = TrustedHostMiddleware(self._enter, allowed_hosts=list(hosts), www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on."""
        await (self._app if scope["type"] == "lifespan" else self._checked)(scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if scope["type"] != "http" or b"origin" in headers or headers.get(b"sec-fetch-site", b"none") != b"none":
            return await _refusal(403, "Web pages may not ask this server.")(scope, receive, send)
        first, _, rest = scope["path"].removeprefix("/").partition("/")
        if not hmac.compare_digest(first.encode(), self._secret.encode()):
            detail = "The address lacks the secret of this server. It prints the whole address when it starts."
            return await _refusal(403, detail)(scope, receive, send)
        if int(headers.get(b"content-length", b"0")) > MOST_BYTES:
            return await _refusal(413, f"A request has at most {MOST_BYTES >> 20} MiB.")(scope, receive, send)
        inner = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}

        body = Body(receive, MOST_BYTES)

        async def receive_bounded() -> Message:
            try:
                return await body.receive()
            except BodyError:
                return {"type": "http.disconnect"}  # the client has gone, as far as the application knows

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(inner, receive_bounded, send_last)


class BodyError(Exception):
    """A body that is too long, or else (``too_slow``) does not come in time."""

    def __init__(self, too_slow: bool) -> None:
        super().__init__("too slow" if too_slow else "too long")
        self.too_slow = too_slow


class Body:
    """A request's body, which ends in time and is not too long.

    Parameters
    ----------
    receive : as the server gives it
    most_bytes : that the body may have; its time is ``BODY_S``
    """

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._until = anyio.current_time() + BODY_S
        self._left, self._whole = most_bytes, False

    async def receive(self) -> Message:
        """The next message; BodyError where the body takes too long or is too long."""
        if self._whole:  # what comes now is the end of the connection, and the answer may take long
            return await self._receive()
        try:
            with anyio.fail_after(self._until - anyio.current_time()):
                message = await self._receive()
        except TimeoutError:
            raise BodyError(too_slow=True) from None
        self._left -= len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._left < 0:
            raise BodyError(too_slow=False)
        return message


class Protocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose next request does not come, or whose answer is not taken.

    uvicorn would wait for ever for half of a header, and for a client that does not read. The clock of a request starts
    when the connection is made, and when the answer before is complete.
    """

    _stuck: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock of the first request."""
        super().connection_made(transport)
        self._wait_for_request()

    def on_response_complete(self) -> None:
        """Start the clock of the next request."""
        answered = self.cycle
        super().on_response_complete()
        if self.cycle is answered:  # else it is here already
            self._wait_for_request()

    def pause_writing(self) -> None:
        """Start the clock of a client that does not take what is there for it."""
        super().pause_writing()
        self._stuck = self.loop.call_later(ANSWER_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop it."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    def _wait_for_request(self) -> None:
        self.loop.call_later(HEADER_S, self._close_if_silent, self.cycle)

    def _close_if_silent(self, answered: Any) -> None:
        if self.cycle is answered:
            self.transport.abort()


def _refusal(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, {"connection": "close"})


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _no_secret(found: str) -> OutputError:
    return OutputError(
        f"The file with the secret of the label server cannot be used. {found}",
        rule="Only its owner can read it, and it holds at least 32 letters and digits.",
        remedy="Delete it, and the server makes another; or name one with --secret.",
    )
