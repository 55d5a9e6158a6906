"""Logging in with a browser: by the workbench's token, or at the hospital's identity provider."""

from __future__ import annotations

import hmac
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from workbench.identity import Identity, Sessions, Verifier
from workbench.oidc import OidcVerifier
from workbench.refusal import Refusal, bad_value

_PAGES = Path(__file__).resolve().parent / "pages"
_PAGE_FILES = ("login.js", "login.css")
_NOT_KEPT = {"cache-control": "no-store"}
_POLICY = {
    "content-security-policy": "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}
# A page of ours that leads on: after a redirect from the provider a browser would not send a SameSite=Strict cookie.
_ONWARD = '<!doctype html><meta http-equiv="refresh" content="0; url=/"><title>Acuity</title>'

OPEN_PATHS = frozenset(
    ["/login", "/login/callback", "/monai/auth/", "/monai/auth/token", "/monai/auth/token/valid"]
    + [f"/login/{name}" for name in _PAGE_FILES]
)


class Login:
    """The routes of logging in and out.

    Parameters
    ----------
    cookie : name of the session's cookie
    public_url : of the gateway
    """

    def __init__(self, verifier: Verifier, sessions: Sessions, *, cookie: str, public_url: str) -> None:
        self._verifier, self._sessions = verifier, sessions
        self._cookie, self._origin = cookie, public_url.rstrip("/")
        self._secure = public_url.startswith("https://")
        self._callback = f"{self._origin}/login/callback"

    def routes(self) -> list[Route]:
        """Routes for the gateway, including those that MONAI Label's own client calls with a name and a password."""
        return [
            Route("/login", self.page, methods=["GET"]),
            Route("/login", self.with_token, methods=["POST"]),
            Route("/login/callback", self.callback, methods=["GET"]),
            *(Route(f"/login/{name}", partial(_page_file, name), methods=["GET"]) for name in _PAGE_FILES),
            Route("/logout", self.log_out, methods=["POST"]),
            Route("/monai/auth/", _auth_enabled, methods=["GET"]),
            Route("/monai/auth/token", self.token, methods=["POST"]),
            Route("/monai/auth/token/valid", _token_valid, methods=["GET"]),
        ]

    async def page(self, _: Request) -> Response:
        """The page that asks for the token, or the way to the identity provider."""
        if not isinstance(self._verifier, OidcVerifier):
            return FileResponse(_PAGES / "login.html", headers=_NOT_KEPT | _POLICY)
        address, state = await self._verifier.begin(self._callback)
        response = RedirectResponse(address, 303, _NOT_KEPT)
        # Lax: it must come along from the provider's page.
        name, secure = f"{self._cookie}-login", self._secure
        response.set_cookie(name, state, max_age=600, path="/login", secure=secure, httponly=True, samesite="lax")
        return response

    async def with_token(self, request: Request) -> Response:
        """A session for the token that the login page sends as the body."""
        if request.headers.get("origin") != self._origin:
            found, rule = "A login that another site's page asks for.", "Logins come from the workbench's own page."
            raise Refusal(403, "other-origin", found, rule, "Open /login.")
        identity = await self._verifier.identify((await request.body()).decode("utf-8", "replace").strip())
        return self._with_session(_valid(identity), Response(status_code=204, headers=_NOT_KEPT))

    async def callback(self, request: Request) -> Response:
        """Where the identity provider sends the browser back to."""
        state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        bound = request.cookies.get(f"{self._cookie}-login", "")
        identity = None
        if isinstance(self._verifier, OidcVerifier) and state and hmac.compare_digest(state.encode(), bound.encode()):
            identity = await self._verifier.complete(state, code, self._callback) if code else None
        response = self._with_session(_valid(identity), HTMLResponse(_ONWARD, headers=_NOT_KEPT))
        response.delete_cookie(f"{self._cookie}-login", path="/login")
        return response

    async def token(self, request: Request) -> Response:
        """Answer 3D Slicer's login dialog: the password is a bearer token, the name does not count."""
        try:
            sent = parse_qs((await request.body()).decode("ascii"), max_num_fields=10)
        except ValueError:
            raise bad_value("A form that cannot be read.", "It must hold username and password.") from None
        credential = sent.get("password", [""])[0]
        _valid(await self._verifier.identify(credential))
        return JSONResponse({"access_token": credential, "token_type": "bearer"}, headers=_NOT_KEPT)

    async def log_out(self, request: Request) -> Response:
        """End the browser's session."""
        self._sessions.end(request.cookies.get(self._cookie, ""))
        response = Response(status_code=204, headers=_NOT_KEPT)
        response.delete_cookie(self._cookie)
        return response

    def _with_session(self, identity: Identity, response: Response) -> Response:
        value, seconds = self._sessions.begin(identity)
        response.set_cookie(self._cookie, value, max_age=seconds, secure=self._secure, httponly=True, samesite="strict")
        return response


async def _page_file(name: str, _: Request) -> Response:
    return FileResponse(_PAGES / name)


async def _auth_enabled(_: Request) -> Response:
    return JSONResponse({"enabled": True})


async def _token_valid(request: Request) -> Response:
    _valid(request.state.identity)
    return JSONResponse({})


def _valid(identity: Identity | None) -> Identity:
    if identity is None:
        raise Refusal(
            401,
            "wrong-credential",
            "A login that is not valid.",
            "It needs the workbench's token, or an account that may use the workbench.",
            "Take the token from the file that `python -m workbench up` names, or log in again.",
        )
    return identity
