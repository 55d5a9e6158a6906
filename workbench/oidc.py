"""OpenID Connect: identities from a hospital's provider, for browsers (code flow with PKCE) and for bearer tokens."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2
import jwt

from workbench.identity import Identity, plain_name
from workbench.refusal import Refusal

# Pinned: "none" and the symmetric ones would let anyone who knows the public key sign.
_ALGORITHMS = ["RS256"]
_LEEWAY_S = 30
_KEYS_S = 3600  # how long the provider's keys are taken as current
_KEYS_AGAIN_S = 30  # and the least time between two fetches, whatever key a token names
_FLOW_S = 600  # how long a login may take
_MOST_FLOWS = 1000


@dataclass(frozen=True)
class OidcSettings:
    """A provider of identities.

    Parameters
    ----------
    issuer : its address, https, as its discovery document and its tokens spell it
    client_id : of the workbench at the provider, a public client or one with ``client_secret``
    audience : that bearer tokens of programs are made for; the client_id unless given
    scope : asked of the provider
    claim, value : who may use the workbench: those whose ``claim`` is or contains ``value``; all where not given
    """

    issuer: str
    client_id: str
    client_secret: str | None = None
    audience: str | None = None
    scope: str = "openid profile"
    claim: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class _Flow:
    nonce: str
    verifier: str
    began: float


class OidcVerifier:
    """The provider's side of a login, and the check of its tokens."""

    def __init__(self, settings: OidcSettings, client: httpx2.AsyncClient) -> None:
        self._settings, self._client = settings, client
        self._document: dict[str, Any] | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = 0.0
        self._flows: dict[str, _Flow] = {}

    async def identify(self, credential: str) -> Identity | None:
        """Whom a bearer token (JWT, RFC 9068 or an ID token) stands for; None where it is not valid."""
        return await self._verify(credential, self._settings.audience or self._settings.client_id, None)

    async def begin(self, redirect_uri: str) -> tuple[str, str]:
        """Begin a login: the provider's address to go to, and the state that must come back.

        The state has to be bound to the browser by a cookie: it keeps others from logging a browser in as
        themselves (RFC 9700 section 4.7).
        """
        document = await self._discover()
        now = time.time()
        self._flows = {s: f for s, f in self._flows.items() if f.began > now - _FLOW_S}
        while len(self._flows) >= _MOST_FLOWS:
            del self._flows[next(iter(self._flows))]
        state, flow = secrets.token_urlsafe(32), _Flow(secrets.token_urlsafe(32), secrets.token_urlsafe(64), now)
        self._flows[state] = flow
        challenge = base64.urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).rstrip(b"=").decode()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._settings.client_id,
                "redirect_uri": redirect_uri,
                "scope": self._settings.scope,
                "state": state,
                "nonce": flow.nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        return f"{document['authorization_endpoint']}?{query}", state

    async def complete(self, state: str, code: str, redirect_uri: str) -> Identity | None:
        """Trade the code for an ID token; None where the flow is unknown, used or too old, or the token not valid."""
        flow = self._flows.pop(state, None)
        if flow is None or flow.began < time.time() - _FLOW_S:
            return None
        document = await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._settings.client_id,
            "code_verifier": flow.verifier,
        }
        if self._settings.client_secret:
            form["client_secret"] = self._settings.client_secret
        try:
            answer = await self._client.post(document["token_endpoint"], data=form)
            token = answer.json().get("id_token") if answer.status_code == 200 else None
        except (httpx2.HTTPError, ValueError, AttributeError) as error:
            raise _unreachable() from error
        return await self._verify(token, self._settings.client_id, flow.nonce) if isinstance(token, str) else None

    async def _verify(self, token: str, audience: str, nonce: str | None) -> Identity | None:
        try:
            key = await self._key(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=audience,
                issuer=self._settings.issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "iss", "aud", "sub"], "strict_aud": False},
            )
        except jwt.PyJWTError:
            return None
        if nonce is not None and not secrets.compare_digest(str(claims.get("nonce", "")), nonce):
            return None
        if self._settings.claim is not None and not _has(claims.get(self._settings.claim), self._settings.value):
            return None
        name = claims.get("name") or claims.get("preferred_username") or claims["sub"]
        return Identity(plain_name(str(name)), personal=True, expires=float(claims["exp"]))

    async def _key(self, kid: str) -> jwt.PyJWK | None:
        """The provider's key of this id; fetched anew where it is not known, for providers change their keys."""
        age = time.time() - self._fetched
        if age > _KEYS_S or (kid not in self._keys and age > _KEYS_AGAIN_S):
            document = await self._discover()
            found = await self._fetch(document["jwks_uri"])
            rsa = [k for k in found.get("keys", []) if k.get("kty") == "RSA" and k.get("use", "sig") == "sig"]
            self._keys = {str(k.get("kid")): jwt.PyJWK(k, algorithm="RS256") for k in rsa}
            self._fetched = time.time()
        return self._keys.get(kid)

    async def _discover(self) -> dict[str, Any]:
        """The discovery document (OpenID Connect Discovery 1.0 section 4), fetched once."""
        if self._document is None:
            document = await self._fetch(f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
            ends = [str(document.get(k)) for k in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
            secure = self._settings.issuer.startswith("http://") or all(e.startswith("https://") for e in ends)
            if document.get("issuer") != self._settings.issuer or "None" in ends or not secure:
                raise Refusal(
                    502,
                    "identity-provider",
                    "The identity provider's discovery document is another's.",
                    rule="It names the configured issuer and its end points, all by https.",
                    remedy="Correct `oidc.issuer` in the workbench's configuration.",
                )
            self._document = document
        return self._document

    async def _fetch(self, url: str) -> dict[str, Any]:
        try:
            answer = await self._client.get(url)
            answer.raise_for_status()
            content = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise _unreachable() from error
        return content if isinstance(content, dict) else {}


def _unreachable() -> Refusal:
    return Refusal(
        502,
        "identity-provider",
        "The identity provider does not answer.",
        rule="It tells who may enter.",
        remedy="Try again; if it stays so, ask those who run it.",
    )


def _has(claim: Any, value: str | None) -> bool:
    return value in claim if isinstance(claim, list) else claim == value
