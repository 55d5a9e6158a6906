"""OpenID Connect by authlib: identities from a hospital's provider, for browsers and for bearer tokens.

Browsers log in by the code flow with PKCE. The checks that authlib leaves to its caller are here: the discovery
document must be the issuer's own, one algorithm is accepted, and a stranger's token cannot make the gateway fetch keys
at will.
"""

from __future__ import annotations

import time
from typing import Any

import httpx2
from authlib.integrations.starlette_client import OAuth, OAuthError
from cachetools import TTLCache
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from workbench.identity import Identity, plain_name
from workbench.refusal import Refusal
from workbench.settings import OidcSettings

# Pinned: "none" and the symmetric ones would let anyone who knows the public key sign.
_ALGORITHMS = ["RS256"]
_LEEWAY_S = 30  # between the provider's clock and ours
_KEYS_S = 3600  # how long the provider's keys are taken as current
_KEYS_AGAIN_S = 30  # the least time between two fetches, whatever key a token names
_ENDS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_LOGIN_S, _MOST_LOGINS = 600, 1000  # how long a login may take, and how many at once


class OidcVerifier:
    """The provider's side of a login, and the check of its tokens.

    Parameters
    ----------
    transport : how the provider is reached; by the network unless given
    """

    def __init__(self, settings: OidcSettings, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._provider = OAuth().register(
            "provider",
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": settings.scope,
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_post" if settings.client_secret else "none",
                "transport": transport,
                "trust_env": False,
            },
        )
        self._logins: TTLCache[str, dict[str, str]] = TTLCache(_MOST_LOGINS, _LOGIN_S, timer=time.time)
        self._keys, self._fetched = KeySet([]), 0.0

    async def identify(self, credential: str) -> Identity | None:
        """The person of a bearer token (JWT, RFC 9068 or an ID token); None where it is not valid."""
        return await self._verify(credential, self._settings.audience or self._settings.client_id)

    async def begin(self, redirect_uri: str) -> tuple[str, str]:
        """Begin a login: the provider's address to go to, and the state that must come back.

        The state has to be bound to the browser by a cookie: it keeps others from logging a browser in as
        themselves (RFC 9700 section 4.7).
        """
        await self._discover()
        login = await self._provider.create_authorization_url(redirect_uri)
        self._logins[login["state"]] = login
        return login["url"], login["state"]

    async def complete(self, state: str, code: str, redirect_uri: str) -> Identity | None:
        """Trade the code for an ID token; None where the login is unknown, used or too old, or the token not valid."""
        login = self._logins.pop(state, None)
        if login is None:
            return None
        await self._discover()
        try:
            answer = await self._provider.fetch_access_token(
                redirect_uri, code=code, code_verifier=login["code_verifier"]
            )
        except OAuthError:
            return None
        except (httpx2.HTTPError, ValueError, TypeError) as error:
            raise _unreachable() from error
        return await self._verify(str(answer.get("id_token")), self._settings.client_id, login["nonce"])

    async def _verify(self, token: str, audience: str, nonce: str | None = None) -> Identity | None:
        s = self._settings
        demands: dict[str, Any] = {name: {"essential": True} for name in ("sub", "exp", "iat")}
        for name, value in {"iss": s.issuer, "aud": audience, "nonce": nonce}.items():
            demands |= {name: {"essential": True, "value": value}} if value is not None else {}
        allowed: dict[str, Any] = {s.claim: {"essential": True, "value": s.value}} if s.claim else {}
        try:
            claims = await self._signed(token)
            jwt.JWTClaimsRegistry(leeway=_LEEWAY_S, **demands).validate(claims)
            jwt.BaseClaimsRegistry(**allowed).validate(claims)
        except (JoseError, ValueError):
            return None
        name = claims.get("name") or claims.get("preferred_username") or claims["sub"]
        held = claims.get(s.claim) if s.claim else None
        may_add = s.adders is not None and s.adders in (held if isinstance(held, list) else [held])
        return Identity(plain_name(str(name)), personal=True, expires=float(claims["exp"]), may_add=may_add)

    async def _signed(self, token: str) -> dict[str, Any]:
        """The claims of a token with a valid signature; keys are fetched anew where its key is not known."""
        await self._refresh_keys(_KEYS_S)
        try:
            return jwt.decode(token, self._keys, algorithms=_ALGORITHMS).claims
        except InvalidKeyIdError:
            await self._refresh_keys(_KEYS_AGAIN_S)
            return jwt.decode(token, self._keys, algorithms=_ALGORITHMS).claims

    async def _refresh_keys(self, oldest_s: float) -> None:
        if time.time() - self._fetched <= oldest_s:
            return
        await self._discover()
        try:
            found = (await self._provider.fetch_jwk_set(force=True))["keys"]
            usable = [k for k in found if k.get("kty") == "RSA" and k.get("use", "sig") == "sig"]
            self._keys = KeySet([KeySet.registry_cls.import_key(key) for key in usable])
        except (httpx2.HTTPError, JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unreachable() from error
        self._fetched = time.time()

    async def _discover(self) -> None:
        """Read the discovery document (OpenID Connect Discovery 1.0 section 4) unless it has been read."""
        try:
            document = await self._provider.load_server_metadata()
        except (httpx2.HTTPError, ValueError, TypeError) as error:
            raise _unreachable() from error
        for name in document.keys() - {"issuer", *_ENDS, "_loaded_at"}:
            del document[name]  # authlib would take each for an argument of its HTTP client
        issuer, ends = self._settings.issuer, [str(document.get(name)) for name in _ENDS]
        secure = issuer.startswith("http://") or all(end.startswith("https://") for end in ends)
        if document.get("issuer") != issuer or "None" in ends or not secure:
            self._provider.server_metadata.clear()  # read it again at the next login
            raise Refusal(
                502,
                "identity-provider",
                "The discovery document is not the configured identity provider's.",
                "It must name the configured issuer and its end points, all by https.",
                "Correct `oidc.issuer` in the workbench's configuration.",
            )


def _unreachable() -> Refusal:
    return Refusal(
        502,
        "identity-provider",
        "The identity provider does not answer.",
        "It decides who may log in.",
        "Try again; if it stays so, ask those who run it.",
    )
