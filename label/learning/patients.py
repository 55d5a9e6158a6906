"""Patients to train on and patients to validate on: decided once for each, and kept for ever."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from acuity.errors import DataError
from label.files import write_json

VALIDATION_SHARE = 0.25


@dataclass(frozen=True)
class Patients:
    """The two lists of patients by their keys; a key does not tell whose it is.

    Parameters
    ----------
    salt : makes the keys of this installation unlike any other's
    train, validation : no key stands in both
    """

    salt: str
    train: frozenset[str] = frozenset()
    validation: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        both = self.train & self.validation
        if both:
            raise DataError(
                f"{len(both)} patients are both to train on and to validate on.",
                rule="A patient is in one list: figures of patients who were trained on say nothing.",
                remedy="Restore the file of the lists from a backup.",
            )

    def key(self, patient: str) -> str:
        """The key of a patient: 16 hexadecimal digits of HMAC-SHA-256."""
        return hmac.new(bytes.fromhex(self.salt), patient.encode(), hashlib.sha256).hexdigest()[:16]

    def assigned(self, keys: Iterable[str]) -> Patients:
        """These lists with the keys that are in neither yet, each put by its value alone.

        While no patient validates, one of those that are new does, as soon as another is left to train on: the one
        of the smallest key. No key ever moves.
        """
        new = sorted(set(keys) - self.train - self.validation)
        validation = {key for key in new if int(key, 16) < VALIDATION_SHARE * 16**16}
        train = set(new) - validation
        if not (validation or self.validation) and train and len(train | self.train) > 1:
            first = min(train)
            train, validation = train - {first}, {first}
        if not (train or self.train) and validation and len(validation | self.validation) > 1:
            last = max(validation)
            train, validation = {last}, validation - {last}
        return Patients(self.salt, self.train | train, self.validation | validation)


def read_patients(path: Path) -> Patients:
    """The lists of a file, new ones with a salt of their own where it is absent; DataError where it is damaged."""
    if not path.exists():
        return Patients(secrets.token_hex(16))
    try:
        content = json.loads(path.read_text())
        return Patients(str(content["salt"]), frozenset(content["train"]), frozenset(content["validation"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The lists of patients cannot be read ({type(error).__name__}).",
            rule="They say who is trained on and who validates, and no patient may change over.",
            remedy=f"Restore {path.name} from a backup; without it, all versions that were trained must go too.",
        ) from error


def write_patients(patients: Patients, path: Path) -> None:
    """Keep the lists; the file is the old one or the new one, never a part."""
    train, validation = sorted(patients.train), sorted(patients.validation)
    write_json({"salt": patients.salt, "train": train, "validation": validation}, path)
