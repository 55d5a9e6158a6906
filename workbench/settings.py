"""Ports, folders and people of a workbench: from flags, else from a YAML file, else as it comes."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from acuity.errors import WorkbenchError
from label.door import read_or_make_secret
from workbench.oidc import OidcSettings

_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """What ``python -m workbench`` needs to know.

    Parameters
    ----------
    state : folder of everything that a restart must not lose: archive, models, token, logs
    cache : folder of what can be fetched again: the viewer
    host : address that the gateway listens on; Orthanc and MONAI Label always listen on 127.0.0.1
    port, orthanc_port, label_port : of the gateway and of the two servers behind it
    public_url : the address that browsers open; made of host and port where it is not given
    certificate, key : PEM files, where the gateway itself speaks https
    bundles : the released models
    annotator : the name that corrections are saved under, where logins are by the common token
    demo : whether the demo study is loaded once
    oidc : the hospital's identity provider, in the place of the token
    """

    state: Path
    cache: Path
    host: str = "127.0.0.1"
    port: int = 8470
    orthanc_port: int = 8471
    label_port: int = 8472
    public_url: str = ""
    certificate: Path | None = None
    key: Path | None = None
    bundles: Path = _REPOSITORY / "bundles"
    annotator: str = "Annotator"
    demo: bool = True
    oidc: OidcSettings | None = None

    @property
    def url(self) -> str:
        """The address that browsers open, without a slash at the end."""
        scheme = "https" if self.certificate else "http"
        return self.public_url.rstrip("/") or f"{scheme}://{self.host}:{self.port}"

    @property
    def dicomweb(self) -> str:
        """Root of Orthanc's DICOMweb."""
        return f"http://127.0.0.1:{self.orthanc_port}/dicom-web"

    @property
    def label_secret(self) -> Path:
        """The file with the secret that only the gateway and MONAI Label share."""
        return self.state / "label-secret"

    @property
    def label_address(self) -> str:
        """Root of MONAI Label, which begins with the secret."""
        return f"http://127.0.0.1:{self.label_port}/{read_or_make_secret(self.label_secret)}"


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
    types = {
        "state": Path,
        "cache": Path,
        "certificate": Path,
        "key": Path,
        "bundles": Path,
        "port": int,
        "orthanc_port": int,
        "label_port": int,
        "demo": bool,
    }
    unknown = sorted(values.keys() - {f.name for f in fields(Settings)})
    if unknown:
        raise _invalid(f"The setting `{unknown[0]}`.", f"Settings are {', '.join(f.name for f in fields(Settings))}.")
    for name, value in values.items():
        kind = types.get(name, str)
        if kind is Path and isinstance(value, str | Path):
            values[name] = Path(value).expanduser().absolute()
        elif name != "oidc" and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise _invalid(f"`{name}` is {value!r}.", f"It is of the type {kind.__name__}.")
    values["oidc"] = _oidc(values.get("oidc"))
    settings = Settings(**values)
    _check(settings)
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _invalid(f"The configuration cannot be read: {file}", "It is a YAML file.") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise _invalid(f"The configuration is no list of names and values: {file}", "Its lines are `name: value`.")
    return found


def _oidc(found: Any) -> OidcSettings | None:
    if found is None:
        return None
    names = {f.name for f in fields(OidcSettings)}
    if not isinstance(found, dict) or not {"issuer", "client_id"} <= found.keys() <= names:
        raise _invalid(
            "`oidc` lacks a name or has another one.",
            f"It has issuer and client_id, and may have {', '.join(sorted(names))}.",
        )
    if not all(isinstance(value, str) and value for value in found.values()):
        raise _invalid("`oidc` has an empty value or one that is no text.", "All of its values are texts.")
    if ("claim" in found) != ("value" in found):
        raise _invalid("`oidc` has one of claim and value.", "They go together: who may use the workbench.")
    issuer = urlsplit(found["issuer"])
    if issuer.scheme != "https" and not _loopback(issuer.hostname or ""):
        raise _invalid(f"`oidc.issuer` is {found['issuer']}.", "It begins with https://, or is on this computer.")
    return OidcSettings(**found)


def _check(settings: Settings) -> None:
    ports = [settings.port, settings.orthanc_port, settings.label_port]
    if len(set(ports)) < len(ports) or not all(1024 <= port <= 65535 for port in ports):
        raise _invalid(f"The ports are {', '.join(map(str, ports))}.", "They differ, and lie between 1024 and 65535.")
    if (settings.certificate is None) != (settings.key is None):
        raise _invalid("One of `certificate` and `key` is given.", "They go together.")
    for name in ("certificate", "key", "bundles"):
        path = getattr(settings, name)
        if path is not None and not path.exists():
            raise _invalid(f"`{name}` names what does not exist: {path}", "It must.")
    public = urlsplit(settings.url)
    if public.scheme not in ("http", "https") or not public.hostname or public.path or public.query:
        raise _invalid(f"`public_url` is {settings.public_url}.", "It is https:// and a host, and nothing after it.")
    exposed = not (_loopback(settings.host) and _loopback(public.hostname))
    if exposed and public.scheme != "https":
        raise WorkbenchError(
            f"The workbench would be open to the network at {settings.url} without encryption.",
            rule="Beyond this computer it is reached by https only: images and the token would pass in the clear.",
            remedy="Give `certificate` and `key`, or keep `host` on 127.0.0.1 behind a server that speaks https, with "
            "`public_url` saying its address.",
        )


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
