"""Identities from a provider: its tokens open, all others do not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.workbench.conftest import TOKEN, URL, Client
from tests.workbench.standin import LABEL, ORTHANC
from workbench.gateway import GatewaySettings, create_app
from workbench.oidc import OidcSettings

ISSUER = "https://login.hospital.example/realm"
SETTINGS = OidcSettings(ISSUER, "acuity", claim="groups", value="annotators")


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Provider:
    """An identity provider: discovery, keys, and the token end point."""

    keys: dict[str, rsa.RSAPrivateKey]
    claims: dict[str, Any] = field(default_factory=dict)
    issuer: str = ISSUER
    asked: dict[str, list[str]] = field(default_factory=dict)
    fetches: int = 0

    def token(self, *, kid: str = "1", key: Any = None, algorithm: str = "RS256", **claims: Any) -> str:
        now = int(time.time())
        content = {
            "iss": ISSUER,
            "aud": "acuity",
            "sub": "17",
            "iat": now,
            "exp": now + 600,
            "name": "Ann O'Tator",
            "groups": ["staff", "annotators"],
        } | claims
        content = {name: value for name, value in content.items() if value is not None}
        signed_by: Any = None if algorithm == "none" else key or self.keys[kid]
        return jwt.encode(content, signed_by, algorithm=algorithm, headers={"kid": kid})

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path.endswith("openid-configuration"):
            ends = {name: f"{ISSUER}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
            return httpx2.Response(200, json={"issuer": self.issuer, **ends})
        if path.endswith("jwks_uri"):
            self.fetches += 1
            made = [
                {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(k.public_key())), "kid": kid, "use": "sig"}
                for kid, k in self.keys.items()
            ]
            return httpx2.Response(200, json={"keys": made})
        if path.endswith("token_endpoint"):
            self.asked = parse_qs(request.content.decode())
            return httpx2.Response(200, json={"id_token": self.token(**self.claims)})
        return httpx2.Response(200, headers={"content-type": "application/json"}, stream=httpx2.ByteStream(b"{}"))


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return new_key()


@pytest.fixture
def provider(key: rsa.RSAPrivateKey) -> Provider:
    return Provider({"1": key})


@pytest.fixture
def client(provider: Provider, viewer_folder: Any) -> Iterator[Client]:
    settings = GatewaySettings(URL, ORTHANC, LABEL, viewer_folder, TOKEN, oidc=SETTINGS)
    yield Client(create_app(settings, httpx2.AsyncClient(transport=httpx2.MockTransport(provider.handle))))


def status(client: Client, token: str) -> int:
    return client.get("/app-config.js", headers={"authorization": f"Bearer {token}"}).status_code


def test_a_token_of_the_provider_opens(client: Client, provider: Provider) -> None:
    assert status(client, provider.token()) == 200
    assert status(client, provider.token(aud=["other", "acuity"])) == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://login.evil.example"},
        {"aud": "another"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"iat": int(time.time()) + 3600},
        {"nbf": int(time.time()) + 3600},
        {"groups": ["staff"]},
        {"groups": None},
        {"groups": "annotatorsx"},
        {"kid": "2"},
    ],
)
def test_other_tokens_do_not(client: Client, provider: Provider, claims: dict[str, Any]) -> None:
    provider.keys["2"] = new_key()
    token = provider.token(**claims)
    del provider.keys["2"]
    assert status(client, token) == 401


def test_the_algorithm_is_not_the_tokens_to_choose(client: Client, provider: Provider) -> None:
    """Neither none, nor HS256 with the public key as the secret that everyone knows."""
    assert status(client, provider.token(algorithm="none")) == 401
    assert status(client, provider.token(key="s" * 32, algorithm="HS256")) == 401
    assert status(client, provider.token(algorithm="RS512")) == 401


def test_a_forged_signature_and_the_shared_token_do_not_open(client: Client, provider: Provider) -> None:
    assert status(client, provider.token(key=new_key())) == 401
    assert status(client, TOKEN) == 401


def test_a_new_key_is_fetched_but_not_at_will(
    client: Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(client, provider.token()) == 200
    provider.keys["2"] = new_key()
    now = time.time()
    assert status(client, provider.token(kid="2")) == 401  # too soon after the last fetch
    assert provider.fetches == 1
    token = provider.token(kid="2")
    monkeypatch.setattr("workbench.oidc.time.time", lambda: now + 31)
    assert status(client, token) == 200
    assert provider.fetches == 2


def login(client: Client) -> dict[str, str]:
    """Begin a login; the parameters that the browser takes to the provider."""
    answer = client.get("/login")
    assert answer.status_code == 303 and "HttpOnly" in answer.headers["set-cookie"]
    address = urlsplit(answer.headers["location"])
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{ISSUER}/authorization_endpoint"
    return {name: values[0] for name, values in parse_qs(address.query).items()}


def test_a_browser_logs_in(client: Client, provider: Provider) -> None:
    sent = login(client)
    assert (sent["response_type"], sent["code_challenge_method"]) == ("code", "S256")
    provider.claims = {"nonce": sent["nonce"]}
    answer = client.get(f"/login/callback?code=abc&state={sent['state']}")
    assert answer.status_code == 200 and "SameSite=strict" in str(answer.headers.get_list("set-cookie"))
    assert provider.asked["code"] == ["abc"] and len(provider.asked["code_verifier"][0]) >= 43
    assert client.get("/app-config.js").status_code == 200


def test_a_login_that_another_began_is_not_this_browsers(client: Client, provider: Provider) -> None:
    sent = login(client)
    provider.claims = {"nonce": sent["nonce"]}
    client.cookies = httpx2.Cookies()
    assert client.get(f"/login/callback?code=abc&state={sent['state']}").status_code == 401


def test_a_code_counts_once_and_its_token_belongs_to_this_login(client: Client, provider: Provider) -> None:
    sent = login(client)
    provider.claims = {"nonce": "of another login"}
    path = f"/login/callback?code=abc&state={sent['state']}"
    assert client.get(path).status_code == 401
    provider.claims = {"nonce": sent["nonce"]}
    assert client.get(path).status_code == 401  # the login is used up


def test_another_issuers_discovery_is_refused(provider: Provider, viewer_folder: Any) -> None:
    provider.issuer = "https://login.evil.example"
    settings = GatewaySettings(URL, ORTHANC, LABEL, viewer_folder, TOKEN, oidc=replace(SETTINGS, claim=None))
    client = Client(create_app(settings, httpx2.AsyncClient(transport=httpx2.MockTransport(provider.handle))))
    assert client.get("/login").json()["code"] == "identity-provider"
