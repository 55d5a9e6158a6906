"""What every request passes first: host, origin, who asks, how large it may be; and the headers of every answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.identity import Identity, Sessions, Verifier
from workbench.refusal import Refusal

_log = logging.getLogger("workbench.access")

_SAFE = {"GET", "HEAD", "OPTIONS"}
_MAKES_SHARED_MEMORY_POSSIBLE = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    **_MAKES_SHARED_MEMORY_POSSIBLE,
}

_CLOSED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Guard:
    """ASGI middleware round the gateway's routes.

    Parameters
    ----------
    public_url : the address under which browsers reach the gateway; requests for another host are refused, or a
        page of a stranger could reach it through a name of its own (DNS rebinding)
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
        self._headers = dict(_HEADERS)
        if public_url.startswith("https://"):
            self._headers["strict-transport-security"] = "max-age=31536000"
        self._origin = public_url.rstrip("/")
        self._host = urlsplit(public_url).netloc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with the identity in the scope's state."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the gateway has no web sockets
            return
        identity: Identity | None = None

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                made = MutableHeaders(scope=message)
                made.update(self._headers)
                made.setdefault("content-security-policy", _CLOSED)  # pages say what they need
                _note(scope, identity, message["status"])
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            identity = await self._identify(headers, scope)
            if identity is None and scope["path"] not in self._open:
                await self._turn_away(scope, receive, answer, headers)
                return
            scope.setdefault("state", {})["identity"] = identity
            limit = self._limit(scope["path"])
            _check_length(headers, limit)
        except Refusal as refusal:
            await refusal.response()(scope, receive, answer)
            return
        await self._app(scope, _counted(receive, limit), answer)

    def _check_host(self, headers: Headers) -> None:
        if headers.get("host") != self._host:
            raise Refusal(
                421,
                "other-host",
                "A request for another host.",
                rule=f"The gateway's host is {self._host}.",
                remedy="Open that address, or set `public_url` in the configuration.",
            )

    async def _identify(self, headers: Headers, scope: Scope) -> Identity | None:
        """Whom the request's credential stands for: a bearer token, else the session of a browser."""
        kind, _, credential = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and credential:
            return await self._verifier.identify(credential.strip())
        identity = self._sessions.find(self.session_cookie(headers))
        # A browser sends the cookie by itself, also for a page of another port of this host (SameSite knows no ports).
        if identity is not None and scope["method"] not in _SAFE and headers.get("origin") != self._origin:
            raise Refusal(
                403,
                "other-origin",
                "A change that another site's page asks for.",
                rule=f"Changes by a session come from {self._origin}.",
                remedy="Use the viewer, or a bearer token.",
            )
        return identity

    def session_cookie(self, headers: Headers) -> str:
        """The value of the session's cookie, empty where there is none."""
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return morsel.value if morsel else ""

    async def _turn_away(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            await RedirectResponse("/login", 303, {"cache-control": "no-store"})(scope, receive, send)
            return
        raise Refusal(
            401,
            "no-identity",
            "A request without a valid token or session.",
            rule="The workbench serves those who are logged in.",
            remedy="Open /login, or send `Authorization: Bearer TOKEN`.",
        )

    def _limit(self, path: str) -> int:
        return self._limits[max((p for p in self._limits if path.startswith(p)), key=len)]


def _check_length(headers: Headers, limit: int) -> None:
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > limit:
        raise _too_large(limit)


def _counted(receive: Receive, limit: int) -> Receive:
    """The same, until the body has more bytes than it may have: its length need not be announced."""
    left = limit

    async def counted() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> Refusal:
    return Refusal(
        413,
        "too-large",
        "A request with a body that is too large.",
        rule=f"{limit} bytes are the most.",
        remedy="Send less at once.",
    )


def _note(scope: Scope, identity: Identity | None, status: int) -> None:
    """Who changed or was refused what, and what failed; no ids: the study's could be looked up."""
    if scope["method"] not in _SAFE or status in (401, 403, 413, 421) or status >= 500:
        place = "/".join(scope["path"].split("/")[:3]) if scope["path"].startswith(("/monai/", "/dicom-web/")) else ""
        if not place.replace("/", "").replace("-", "").isalpha():
            place = "elsewhere"
        who = "nobody" if identity is None else identity.name if identity.personal else "token"
        _log.info("%s %s by %s: %d", scope["method"], place, who, status)
