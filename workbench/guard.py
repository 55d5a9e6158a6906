"""What every request passes first: host, origin, identity and size; and the headers of every answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from label.door import BODY_S, Body, BodyError
from workbench.identity import Identity, Sessions, Verifier
from workbench.refusal import Refusal

_log = logging.getLogger("workbench.access")

_MOST_FORM = 1 << 20  # bytes of a URL-encoded form: all of it is held in memory
_LARGE, _MOST_LARGE = 1 << 20, 4  # bytes of a body that is an upload, and how many uploads at once

_SAFE = {"GET", "HEAD", "OPTIONS"}
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # These three make shared memory possible, which OHIF decodes images in.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}
_CLOSED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Guard:
    """ASGI middleware around the gateway's routes.

    Parameters
    ----------
    public_url : the address under which browsers reach the gateway; requests for another host are refused, or a
        page of a stranger could reach it through a name of its own (DNS rebinding)
    cookie : name of the session's cookie
    open_paths : paths that need no identity
    limits : most bytes of a request's body by the beginning of its path; the longest that fits counts
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        public_url: str,
        verifier: Verifier,
        sessions: Sessions,
        cookie: str,
        open_paths: frozenset[str],
        limits: Mapping[str, int],
    ) -> None:
        self._app, self._verifier, self._sessions = app, verifier, sessions
        self._cookie, self._open, self._limits = cookie, open_paths, limits
        self._uploads = anyio.Semaphore(_MOST_LARGE)
        self._origin, self._host = public_url.rstrip("/"), urlsplit(public_url).netloc
        https = public_url.startswith("https://")
        self._headers = _HEADERS | ({"strict-transport-security": "max-age=31536000"} if https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with the identity in the scope's state."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":  # the gateway has no web sockets
            await self._pass_on(Request(scope), receive, send)

    async def _pass_on(self, request: Request, receive: Receive, send: Send) -> None:
        scope = request.scope
        identity: Identity | None = None

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers.setdefault("content-security-policy", _CLOSED)  # pages say what they need
                _note(scope, identity, message["status"])
            await send(message)

        try:
            self._check_host(request.headers)
            identity = await self._identify(request)
            if identity is None and scope["path"] not in self._open:
                if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                    await RedirectResponse("/login", 303, {"cache-control": "no-store"})(scope, receive, answer)
                    return
                raise _not_logged_in(request.headers)
            scope.setdefault("state", {})["identity"] = identity
            limit = self._limit(request)
            with self._place_for(request):
                await self._app(scope, _bounded(receive, limit), answer)
        except Refusal as refusal:
            await refusal.response()(scope, receive, answer)

    def _check_host(self, headers: Headers) -> None:
        if headers.get("host") != self._host:
            rule, remedy = f"The gateway's host is {self._host}.", "Open that address, or configure `public_url`."
            raise Refusal(421, "other-host", "A request for another host.", rule, remedy)

    def _limit(self, request: Request) -> int:
        """Most bytes of the request's body, which is refused where it announces more."""
        limit = self._limits[max((p for p in self._limits if request.scope["path"].startswith(p)), key=len)]
        if "urlencoded" in request.headers.get("content-type", "").lower():
            limit = min(limit, _MOST_FORM)
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            raise _too_large(limit)
        return limit

    @contextmanager
    def _place_for(self, request: Request) -> Iterator[None]:
        """One of the few places for uploads, where the request is one."""
        headers = request.headers
        if "transfer-encoding" not in headers and int(headers.get("content-length", "0")) <= _LARGE:
            yield
            return
        try:
            self._uploads.acquire_nowait()
        except anyio.WouldBlock:
            rule = f"At most {_MOST_LARGE} are taken at once."
            raise Refusal(503, "busy", "Too many uploads.", rule, "Try again in a minute.") from None
        try:
            yield
        finally:
            self._uploads.release()

    async def _identify(self, request: Request) -> Identity | None:
        """The person behind the request's bearer token, else behind its session."""
        kind, _, credential = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and credential:
            return await self._verifier.identify(credential.strip())
        identity = self._sessions.find(request.cookies.get(self._cookie, ""))
        # A browser sends the cookie by itself, also for a page of another port of this host (SameSite knows no ports).
        if identity and request.method not in _SAFE and request.headers.get("origin") != self._origin:
            found, rule = "A change that another site's page asks for.", f"Changes by a session need {self._origin}."
            raise Refusal(403, "other-origin", found, rule, "Use the viewer, or a bearer token.")
        return identity


def _bounded(receive: Receive, limit: int) -> Receive:
    """The same, until the body has more bytes than it may have (its length need not be announced), or takes long."""
    body = Body(receive, limit)

    async def bounded() -> Message:
        try:
            return await body.receive()
        except BodyError as error:
            if error.too_slow:
                rule = f"A request is here within {BODY_S:.0f} s."
                raise Refusal(408, "too-slow", "A request that does not end.", rule, "Send it again.") from None
            raise _too_large(limit) from None

    return bounded


def _not_logged_in(headers: Headers) -> Refusal:
    rule = "The workbench serves who is logged in."
    if "authorization" in headers:
        return Refusal(401, "no-identity", "A token that is not valid.", rule, "Send `Authorization: Bearer TOKEN`.")
    remedy = "Log in again in another tab (/login), then repeat this: nothing is lost here."
    return Refusal(401, "no-identity", "Your login has ended.", rule, remedy)


def _too_large(limit: int) -> Refusal:
    found, rule = "A request with a body that is too large.", f"{limit} bytes are the most."
    return Refusal(413, "too-large", found, rule, "Send less at once.")


def _note(scope: Scope, identity: Identity | None, status: int) -> None:
    """Log who changed or was refused what, and what failed; no ids, by which a study could be looked up."""
    if scope["method"] not in _SAFE or status in (401, 403, 413, 421) or status >= 500:
        place = "/".join(scope["path"].split("/")[:3]) if scope["path"].startswith(("/monai/", "/dicom-web/")) else ""
        if not place.replace("/", "").replace("-", "").isalpha():
            place = "elsewhere"
        who = "nobody" if identity is None else identity.name if identity.personal else "token"
        _log.info("%s %s by %s: %d", scope["method"], place, who, status)
