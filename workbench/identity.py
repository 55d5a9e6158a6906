"""Identities: the people behind a bearer token or a browser's session."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cachetools import TLRUCache

from acuity.errors import WorkbenchError

_SESSION_S = 12 * 3600  # a working day
_MOST_SESSIONS = 1000
_SHORTEST_TOKEN = 32  # characters; ours are 43, of 256 random bits


@dataclass(frozen=True)
class Identity:
    """A person who may use the workbench.

    Parameters
    ----------
    name : of the person, for the SEG that they save; never a patient's
    personal : whether the credential is this person's own, so that nobody else can act under the name
    expires : seconds since the epoch at which the credential ends; None where it does not
    may_add : whether the person may bring studies into the archive
    """

    name: str
    personal: bool
    expires: float | None = None
    may_add: bool = False


def plain_name(text: str) -> str:
    """A name as it may stand in a DICOM object (VR PN, PS3.5 section 6.2) and in a log."""
    return "".join(c for c in text if c.isprintable() and c not in "\\^=")[:63].strip() or "Annotator"


class Verifier(Protocol):
    """Checks bearer credentials."""

    async def identify(self, credential: str) -> Identity | None:
        """The person whom the credential stands for; None where it is not valid."""
        ...


class SharedToken:
    """One token for all who use this workbench; used where no identity provider is configured."""

    def __init__(self, token: str, name: str) -> None:
        self._token, self._name = token.encode(), plain_name(name)

    async def identify(self, credential: str) -> Identity | None:
        """Compare in constant time."""
        same = hmac.compare_digest(credential.encode(), self._token)
        return Identity(self._name, personal=False, may_add=True) if same else None


class Sessions:
    """Sessions of browsers, kept in memory by the hash of their cookie.

    A signed cookie would need no memory, but could not be revoked by logging out. A restart asks everyone to log in
    again.
    """

    def __init__(self) -> None:
        self._sessions: TLRUCache[bytes, tuple[Identity, float]] = TLRUCache(
            _MOST_SESSIONS, ttu=lambda _key, session, _now: session[1], timer=time.time
        )

    def begin(self, identity: Identity) -> tuple[str, int]:
        """The cookie's value and how many seconds it is valid: a working day, or as long as the credential."""
        now = time.time()
        end = min(now + _SESSION_S, identity.expires or now + _SESSION_S)
        cookie = secrets.token_urlsafe(32)
        self._sessions[_key(cookie)] = identity, end
        return cookie, int(end - now)

    def find(self, cookie: str) -> Identity | None:
        """Whose session it is; None where there is none or it has ended."""
        session = self._sessions.get(_key(cookie))
        return session[0] if session else None

    def end(self, cookie: str) -> None:
        """Log out."""
        self._sessions.pop(_key(cookie), None)


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()


def read_or_make_token(path: Path) -> tuple[str, bool]:
    """The workbench's token, and whether it was made now: 256 random bits in a file that only its owner can read.

    Raises
    ------
    WorkbenchError
        Where others may read the file, or it holds no token.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        token = secrets.token_urlsafe(32)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
        return token, True
    remedy = "Delete it, so that the next start makes a new one."
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        found = f"The token's file has the permissions {mode:o}: {path}"
        raise WorkbenchError(found, rule="Only its owner may read it (600).", remedy=remedy)
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if len(token) < _SHORTEST_TOKEN:
        found = f"The token's file holds {len(token)} characters: {path}"
        raise WorkbenchError(found, rule=f"A token has {_SHORTEST_TOKEN} at least.", remedy=remedy)
    return token, False
