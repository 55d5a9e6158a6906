"""Identities from a provider: its tokens open, all others do not."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.workbench.conftest import TOKEN, Client, MakeClient
from workbench.settings import OidcSettings

ISSUER = "https://login.hospital.example/realm"
SETTINGS = OidcSettings(ISSUER, "acuity", claim="groups", value="annotators")
ENDS = {name: f"{ISSUER}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Provider:
    """An identity provider: discovery, keys, and the token end point; its tokens are PyJWT's, which nothing else uses.

    Parameters
    ----------
    claims : of the token that a login gets
    document : replaces entries of the discovery document
    """

    keys: dict[str, rsa.RSAPrivateKey]
    claims: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, list[str]] = field(default_factory=dict)
    fetches: int = 0
    status: int = 200

    def token(self, *, kid: str | None = "1", key: Any = None, algorithm: str = "RS256", **claims: Any) -> str:
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
        signed_by: Any = None if algorithm == "none" else key or self.keys[kid or "1"]
        return jwt.encode(content, signed_by, algorithm=algorithm, headers={"kid": kid} if kid else {})

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path.endswith("openid-configuration"):
            return httpx2.Response(self.status, json={"issuer": ISSUER, **ENDS, **self.document})
        if path.endswith("jwks_uri"):
            self.fetches += 1
            made = [
                {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(k.public_key())), "kid": kid, "use": "sig"}
                for kid, k in self.keys.items()
            ]
            return httpx2.Response(self.status, json={"keys": made})
        assert path.endswith("token_endpoint")
        self.asked = parse_qs(request.content.decode())
        return httpx2.Response(self.status, json={"id_token": self.token(**self.claims)})


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return new_key()


@pytest.fixture(scope="module")
def other_key() -> rsa.RSAPrivateKey:
    return new_key()


@pytest.fixture
def provider(key: rsa.RSAPrivateKey) -> Provider:
    return Provider({"1": key})


@pytest.fixture
def client(provider: Provider, make_client: MakeClient) -> Client:
    return make_client(provider.handle, oidc=SETTINGS)


def status(client: Client, token: str) -> int:
    return client.get("/app-config.js", headers={"authorization": f"Bearer {token}"}).status_code


def test_a_token_of_the_provider_opens(client: Client, provider: Provider) -> None:
    now = int(time.time())
    assert status(client, provider.token()) == 200
    assert status(client, provider.token(aud=["other", "acuity"])) == 200
    assert status(client, provider.token(exp=now - 20)) == 200  # clocks differ
    assert provider.fetches == 1


NOW = int(time.time())
STRANGE: list[dict[str, Any]] = [
    {"iss": "https://login.evil.example"},
    {"aud": "another"},
    {"aud": ["another"]},
    {"kid": "2"},
]
STRANGE += [{"groups": ["staff"]}, {"groups": None}, {"groups": "annotatorsx"}]
STRANGE += [{"iss": None}, {"aud": None}, {"exp": None}, {"iat": None}, {"sub": None}]
STRANGE += [{"exp": 1}, {"exp": NOW - 600}, {"iat": NOW + 3600}, {"nbf": NOW + 3600}]


@pytest.mark.parametrize("claims", STRANGE)
def test_other_tokens_do_not(
    client: Client, provider: Provider, other_key: rsa.RSAPrivateKey, claims: dict[str, Any]
) -> None:
    provider.keys["2"] = other_key
    token = provider.token(**claims)
    del provider.keys["2"]
    assert status(client, token) == 401


def test_neither_algorithm_nor_key_is_the_tokens_to_choose(
    client: Client, provider: Provider, other_key: rsa.RSAPrivateKey
) -> None:
    """Neither none, nor HS256 with a secret that everyone could know, nor a key of the sender's."""
    assert status(client, provider.token(algorithm="none")) == 401
    assert status(client, provider.token(key="s" * 32, algorithm="HS256")) == 401
    assert status(client, provider.token(algorithm="RS512")) == 401
    assert status(client, provider.token(key=other_key)) == 401
    assert status(client, provider.token(kid=None, key=other_key)) == 401


def test_a_providers_algorithms_do_not_count(provider: Provider, make_client: MakeClient) -> None:
    provider.document = {"id_token_signing_alg_values_supported": ["none", "HS256", "RS512"]}
    client = make_client(provider.handle, oidc=SETTINGS)
    assert status(client, provider.token()) == 200
    assert status(client, provider.token(algorithm="RS512")) == 401


@pytest.mark.parametrize("token", [TOKEN, "a.b.c", "..", "a.b", "e30.e30.", "\u00e4.\u00e4.\u00e4", "W10.W10.W10"])
def test_what_is_no_token_does_not_open(client: Client, token: str) -> None:
    assert client.get("/app-config.js", headers={b"authorization": f"Bearer {token}".encode()}).status_code == 401


def test_a_claim_that_is_asked_of_members_does_not_replace_other_checks(
    provider: Provider, make_client: MakeClient
) -> None:
    client = make_client(provider.handle, oidc=OidcSettings(ISSUER, "acuity", claim="aud", value="staff"))
    assert status(client, provider.token(aud=["acuity", "staff"])) == 200
    assert status(client, provider.token(aud=["another", "staff"])) == 401


@pytest.mark.parametrize(
    ("adders", "groups", "may_add"),
    [
        ("curators", ["annotators", "curators"], True),
        ("curators", ["annotators"], False),
        ("annotators", "annotators", True),
        ("curator", ["annotators", "curators"], False),
        (None, ["annotators", "None"], False),
    ],
)
def test_who_may_add_studies(
    provider: Provider, make_client: MakeClient, adders: str | None, groups: Any, may_add: bool
) -> None:
    client = make_client(provider.handle, oidc=replace(SETTINGS, adders=adders))
    answer = client.get("/add", headers={"authorization": f"Bearer {provider.token(groups=groups)}"})
    assert answer.json() == {"may_add": may_add}


def test_a_new_key_is_fetched_but_not_at_will(
    client: Client, provider: Provider, other_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(client, provider.token()) == 200
    provider.keys["2"] = other_key
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
    assert (sent["client_id"], sent["scope"]) == ("acuity", "openid profile")
    provider.claims = {"nonce": sent["nonce"]}
    answer = client.get(f"/login/callback?code=abc&state={sent['state']}")
    assert answer.status_code == 200 and "SameSite=strict" in str(answer.headers.get_list("set-cookie"))
    (verifier,) = provider.asked["code_verifier"]
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert provider.asked["code"] == ["abc"] and len(verifier) >= 43 and challenge == sent["code_challenge"]
    assert provider.asked["redirect_uri"] == ["http://127.0.0.1:8470/login/callback"] == [sent["redirect_uri"]]
    assert provider.asked["client_id"] == ["acuity"] and "client_secret" not in provider.asked
    assert client.get("/app-config.js").status_code == 200


def test_a_login_that_another_began_is_not_this_browsers(client: Client, provider: Provider) -> None:
    sent = login(client)
    provider.claims = {"nonce": sent["nonce"]}
    client.cookies.clear()
    assert client.get(f"/login/callback?code=abc&state={sent['state']}").status_code == 401


def test_a_login_does_not_wait_for_ever(
    provider: Provider, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    monkeypatch.setattr("workbench.oidc.time.time", lambda: now[0])
    client = make_client(provider.handle, oidc=SETTINGS)
    sent = login(client)
    now[0] += 601
    provider.claims = {"nonce": sent["nonce"]}
    assert client.get(f"/login/callback?code=abc&state={sent['state']}").status_code == 401


@pytest.mark.parametrize("nonce", ["of another login", None])
def test_a_code_counts_once_and_its_token_belongs_to_this_login(
    client: Client, provider: Provider, nonce: str | None
) -> None:
    sent = login(client)
    provider.claims = {"nonce": nonce}
    path = f"/login/callback?code=abc&state={sent['state']}"
    assert client.get(path).status_code == 401
    provider.claims = {"nonce": sent["nonce"]}
    assert client.get(path).status_code == 401  # the login is used up


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://login.evil.example"},
        {"issuer": None},
        {"token_endpoint": None},
        {"jwks_uri": "http://login.hospital.example/keys"},
    ],
)
def test_another_issuers_discovery_is_refused_until_it_is_the_right_one(
    provider: Provider, make_client: MakeClient, document: dict[str, Any]
) -> None:
    provider.document = document
    client = make_client(provider.handle, oidc=replace(SETTINGS, claim=None, value=None))
    answer = client.get("/login")
    assert (answer.status_code, answer.json()["code"]) == (502, "identity-provider")
    provider.document = {}
    assert client.get("/login").status_code == 303


def test_a_document_configures_no_connection(provider: Provider, make_client: MakeClient) -> None:
    """Authlib takes each entry of the discovery document for an argument of its HTTP client."""
    provider.document = {"proxy": "http://evil.example", "verify": False, "code_challenge_method": "plain"}
    assert login(make_client(provider.handle, oidc=SETTINGS))["code_challenge_method"] == "S256"


def test_a_provider_that_does_not_answer_is_named(client: Client, provider: Provider) -> None:
    provider.status = 503
    for answer in (client.get("/login"), client.get("/", headers={"authorization": f"Bearer {provider.token()}"})):
        assert (answer.status_code, answer.json()["code"]) == (502, "identity-provider")
