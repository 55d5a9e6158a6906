"""Ports, folders and people of a workbench: from flags, else from a YAML file, else by default."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from acuity.errors import WorkbenchError
from label.door import ARCHIVE_USER, read_or_make_secret

_REPOSITORY = Path(__file__).resolve().parent.parent
_ONLY_THESE = ConfigDict(extra="forbid")


def _absolute(value: Any) -> Any:
    return Path(value).expanduser().absolute() if isinstance(value, str | Path) else value


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    return path


Text = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=1024, le=65535, strict=True)]
Place = Annotated[Path, BeforeValidator(_absolute)]
ExistingPlace = Annotated[Path, BeforeValidator(_absolute), AfterValidator(_existing)]


@dataclass(frozen=True, config=_ONLY_THESE)
class OidcSettings:
    """An OpenID Connect provider.

    Parameters
    ----------
    issuer : its address, https, as its discovery document and its tokens spell it
    client_id : of the workbench at the provider, a public client or one with ``client_secret``
    audience : that bearer tokens of programs are made for; the client_id unless given
    scope : asked of the provider
    claim, value : who may use the workbench: those whose ``claim`` is or contains ``value``; all where not given
    adders : who of these may bring studies into the archive: those whose ``claim`` is or contains it; nobody where not
        given
    """

    issuer: Text
    client_id: Text
    client_secret: Text | None = None
    audience: Text | None = None
    scope: Text = "openid profile"
    claim: Text | None = None
    value: Text | None = None
    adders: Text | None = None

    @model_validator(mode="after")
    def _check(self) -> OidcSettings:
        if (self.claim is None) != (self.value is None):
            raise ValueError("claim and value go together: they say who may use the workbench")
        if self.adders is not None and self.claim is None:
            raise ValueError("adders needs claim: both say who may bring studies into the archive")
        issuer = urlsplit(self.issuer)
        if issuer.scheme != "https" and not _loopback(issuer.hostname or ""):
            raise ValueError(f"the issuer {self.issuer} must begin with https:// or be on this computer")
        return self


@dataclass(frozen=True, config=_ONLY_THESE)
class Settings:
    """What ``python -m workbench`` needs to know.

    Parameters
    ----------
    state : folder of everything that a restart must not lose: archive, models, token, logs
    cache : folder of what can be fetched again: the viewer
    host : address that the gateway listens on; Orthanc and MONAI Label serve this computer only
    port, orthanc_port, label_port : of the gateway and of the two servers behind it
    public_url : the address that browsers open; made of host and port where it is not given
    certificate, key : PEM files, where the gateway itself speaks https
    bundles : the released models
    annotator : the name that corrections are saved under, where logins are by the common token
    demo : whether the demo study is loaded once
    oidc : the hospital's identity provider, in place of the token
    """

    state: Place
    cache: Place
    host: str = "127.0.0.1"
    port: Port = 8470
    orthanc_port: Port = 8471
    label_port: Port = 8472
    public_url: str = ""
    certificate: ExistingPlace | None = None
    key: ExistingPlace | None = None
    bundles: ExistingPlace = _REPOSITORY / "bundles"
    annotator: str = "Annotator"
    demo: StrictBool = True
    oidc: OidcSettings | None = None

    @property
    def url(self) -> str:
        """The address that browsers open, without a slash at the end."""
        scheme = "https" if self.certificate else "http"
        return self.public_url.rstrip("/") or f"{scheme}://{self.host}:{self.port}"

    @property
    def orthanc(self) -> str:
        """Root of Orthanc's own interface, with the login that only the workbench knows."""
        password = read_or_make_secret(self.archive_password)
        return f"http://{ARCHIVE_USER}:{password}@127.0.0.1:{self.orthanc_port}"

    @property
    def dicomweb(self) -> str:
        """Root of Orthanc's DICOMweb, with the login."""
        return f"{self.orthanc}/dicom-web"

    @property
    def archive_password(self) -> Path:
        """The file with Orthanc's password."""
        return self.state / "archive-password"

    @property
    def label_secret(self) -> Path:
        """The file with the secret that only the gateway and MONAI Label share."""
        return self.state / "label-secret"

    @property
    def label_address(self) -> str:
        """Root of MONAI Label, which begins with the secret."""
        return f"http://127.0.0.1:{self.label_port}/{read_or_make_secret(self.label_secret)}"

    @property
    def token_file(self) -> Path:
        """The file with the token that the login asks for."""
        return self.state / "token"

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if len({self.port, self.orthanc_port, self.label_port}) < 3:
            raise ValueError("the three ports must differ")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        public = urlsplit(self.url)
        if public.scheme not in ("http", "https") or not public.hostname or public.path or public.query:
            raise ValueError(f"public_url is {self.public_url}; it must be https:// and a host, and nothing after it")
        if public.scheme != "https" and not (_loopback(self.host) and _loopback(public.hostname)):
            raise ValueError(
                f"the workbench would be open to the network at {self.url} without encryption; give certificate and "
                "key, or keep host on 127.0.0.1 behind a server that speaks https, and name its address as public_url"
            )
        return self


def own_address(settings: Settings) -> str:
    """Where this computer reaches its own gateway, which may be known by another name."""
    host = settings.host
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"{'https' if settings.certificate else 'http'}://{reached}:{settings.port}"


def read_settings(file: Path | None, flags: dict[str, Any]) -> Settings:
    """Settings of a configuration file, with flags over it.

    Parameters
    ----------
    file : YAML with the names of ``Settings``; ``oidc`` holds those of ``OidcSettings``
    flags : of the command line; None for those that were not given

    Raises
    ------
    WorkbenchError
        For a file that cannot be read, a name or value that is not valid, and what would be unsafe.
    """
    values: dict[str, Any] = {
        "state": _xdg("XDG_DATA_HOME", ".local/share") / "acuity" / "workbench",
        "cache": _xdg("XDG_CACHE_HOME", ".cache") / "acuity",
    }
    values |= _read(file) if file else {}
    values |= {name: value for name, value in flags.items() if value is not None}
    unknown = sorted(values.keys() - {field.name for field in fields(Settings)})
    if unknown:
        raise _invalid(f"`{unknown[0]}` is not a setting.", f"There are {', '.join(f.name for f in fields(Settings))}.")
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]  # a value could be the client's secret
        place = ".".join(map(str, first["loc"])) or "the settings"
        raise _invalid(f"`{place}` cannot be used.", first["msg"].removeprefix("Value error, ") + ".") from None


def save_settings(settings: Settings, file: Path) -> None:
    """Write settings for another process of the same user, who alone may read them: a secret may be among them."""
    write_private(file, TypeAdapter(Settings).dump_json(settings))


def write_private(file: Path, content: bytes) -> None:
    """Write a file anew that only its owner can read."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        target.write(content)


def load_settings(file: Path) -> Settings:
    """What ``save_settings`` has written."""
    return Settings(**json.loads(file.read_bytes()))


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _invalid(f"The configuration cannot be read: {file}", "It must be a YAML file.") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise _invalid(f"The configuration holds no names and values: {file}", "Its lines are `name: value`.")
    return found


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _xdg(variable: str, otherwise: str) -> Path:
    """A base folder by the XDG Base Directory Specification, which disregards relative ones."""
    given = Path(os.environ.get(variable, ""))
    return given if given.is_absolute() else Path.home() / otherwise


def _invalid(found: str, rule: str) -> WorkbenchError:
    return WorkbenchError(found, rule=rule, remedy="Correct the flag or the configuration file.")
