"""Versions of a fine-tuned model: candidates with their figures, which of them is served, and the way back.

``python -m label.learning.versions list|serve|back --models FOLDER`` shows and changes what a server serves.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acuity.console import print_error
from acuity.errors import AcuityError, BundleError, DataError
from acuity.models.bundle import Bundle, load_bundle
from acuity.resources import file_sha256
from label.datastores.notes import write_whole

RELEASED = 0  # the number of the bundle as it was released
_FILE = "served.json"


@dataclass(frozen=True)
class Candidate:
    """A model that a training made.

    Parameters
    ----------
    number : 1 for the first, then counted up; 0 is the released bundle, which is no candidate
    parent : number of the version that it was trained on from
    weights_sha256 : of its file of weights
    served : whether it passed the gate when it was made
    reason : a sentence for people on why it did or did not
    figures : of "candidate" and of "served", the model it was compared with, on the validation list
    training : how it was trained: settings and numbers of cases, no identifiers
    made : UTC, ISO 8601
    """

    number: int
    parent: int
    weights_sha256: str
    served: bool
    reason: str
    figures: Mapping[str, Any]
    training: Mapping[str, Any]
    made: str


class Versions:
    """What was trained on from one released bundle, in a folder of its own.

    ``candidates/<number>.pt`` and ``.json`` hold a version, ``served.json`` which one is served. All are written
    aside and moved into place, so that a server that reads them sees the old state or the new one.

    Parameters
    ----------
    folder : of the versions; created when the first one is added
    bundles, name : folder of the released bundles, and the name of this one
    """

    def __init__(self, folder: Path, bundles: Path, name: str) -> None:
        self.folder = folder
        self.bundles = bundles
        self.name = name
        self._loaded: tuple[int, Bundle] | None = None

    @property
    def served(self) -> int:
        """Number of the version that is served; 0 is the released bundle.

        Raises
        ------
        DataError : the file that says so is damaged
        """
        return self._state()[-1]

    def bundle(self, number: int | None = None) -> Bundle:
        """A version, by default the served one; its version reads as "0.3.0+2" for candidate 2 of release 0.3.0.

        The served one is kept in memory until another is served.

        Raises
        ------
        BundleNotFoundError, BundleError : as ``load_bundle``; or its weights are not those that were measured
        DataError : there is no such candidate
        """
        wanted = self.served if number is None else number
        if self._loaded is not None and self._loaded[0] == wanted:
            return self._loaded[1]
        found = self._load(wanted)
        if number is None:
            self._loaded = wanted, found
        return found

    def weights(self, number: int) -> Path:
        """The file of weights of a version."""
        if number == RELEASED:
            return self.bundles / self.name / "models" / "model.pt"
        return self._candidates / f"{number:04d}.pt"

    def candidates(self) -> list[Candidate]:
        """All, oldest first.

        Raises
        ------
        DataError : one is damaged
        """
        return [self.candidate(int(path.stem)) for path in sorted(self._candidates.glob("[0-9]*.json"))]

    def candidate(self, number: int) -> Candidate:
        """One of them.

        Raises
        ------
        DataError : it is not there, or damaged
        """
        path = self._candidates / f"{number:04d}.json"
        try:
            return Candidate(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"Version {number} of {self.name} cannot be read ({type(error).__name__}).",
                rule="A version is 0, the released bundle, or a candidate that a training made.",
                remedy="`python -m label.learning.versions list` shows those that there are.",
            ) from error

    def add(
        self,
        weights: Path,
        *,
        parent: int,
        passed: bool,
        reason: str,
        figures: Mapping[str, Any],
        training: Mapping[str, Any],
    ) -> Candidate:
        """Keep a trained model; serve it if it passed, else leave served what is.

        Parameters
        ----------
        weights : its state_dict; the file is copied
        """
        self._candidates.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.stem) for path in self._candidates.glob("[0-9]*.json")), default=RELEASED)
        write_whole(self.weights(number), lambda path: shutil.copyfile(weights, path))
        made = Candidate(
            number,
            parent,
            file_sha256(self.weights(number)),
            passed,
            reason,
            dict(figures),
            dict(training),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        _write(asdict(made), self._candidates / f"{number:04d}.json")
        if passed:
            self.serve(number)
        return made

    def serve(self, number: int) -> None:
        """Serve this version from now on, once it was seen to load.

        Raises
        ------
        As ``bundle``.
        """
        state = self._state()
        if number == state[-1]:
            return
        self._load(number)
        self.folder.mkdir(parents=True, exist_ok=True)
        _write({"served": [*state, number]}, self.folder / _FILE)

    def back(self) -> int:
        """Serve again what was served before; the number of it.

        Raises
        ------
        DataError : nothing was served before
        """
        state = self._state()
        if len(state) == 1:
            raise DataError(
                f"{self.name} is served as version {state[-1]}, the first one.",
                rule="The way back leads to a version that was served before.",
                remedy="There is none: nothing has to be done.",
            )
        self._load(state[-2])
        _write({"served": state[:-1]}, self.folder / _FILE)
        return state[-2]

    def describe(self) -> dict[str, Any]:
        """The served version and all candidates, as JSON."""
        served = self.served
        return {"bundle": self.name, "served": served, "candidates": [asdict(one) for one in self.candidates()]}

    @property
    def _candidates(self) -> Path:
        return self.folder / "candidates"

    def _state(self) -> list[int]:
        """Numbers of what was served, one after the other; the last is served now."""
        path = self.folder / _FILE
        if not path.is_file():
            return [RELEASED]
        try:
            state = [int(number) for number in json.loads(path.read_text())["served"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{_FILE} of {self.name} is damaged ({type(error).__name__}).",
                rule="It lists the numbers of what was served.",
                remedy="Restore it, or delete it to serve the released bundle.",
            ) from error
        return state or [RELEASED]

    def _load(self, number: int) -> Bundle:
        if number == RELEASED:
            return load_bundle(self.bundles, self.name)
        made = self.candidate(number)
        bundle = load_bundle(self.bundles, self.name, weights=self.weights(number))
        if bundle.weights_sha256 != made.weights_sha256:
            raise BundleError(
                f"The weights of version {number} of {self.name} have the SHA-256 {bundle.weights_sha256[:12]}...",
                rule=f"They were measured as {made.weights_sha256[:12]}...: a file that changed since is not served.",
                remedy="Serve another version.",
            )
        return replace(bundle, version=f"{bundle.version}+{number}")


def _write(content: object, path: Path) -> None:
    write_whole(path, lambda part: part.write_text(json.dumps(content, indent=2) + "\n"))


def main(argv: Seq[str] | None = None) -> int:
    """Show or change what is served; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m label.learning.versions", description=__doc__)
    parser.add_argument("action", choices=("list", "serve", "back"))
    parser.add_argument("number", type=int, nargs="?", help="of the version to serve; 0 is the released bundle")
    parser.add_argument("--models", type=Path, required=True, metavar="FOLDER", help="the server's --models")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), metavar="FOLDER", help="(%(default)s)")
    args = parser.parse_args(argv)
    if (args.action == "serve") != (args.number is not None):
        parser.error("serve takes a number, the others none")
    from label.tasks.models import tumor_versions

    versions = tumor_versions(args.models, args.bundles)
    try:
        if args.action == "serve":
            versions.serve(args.number)
        elif args.action == "back":
            versions.back()
        print(json.dumps(versions.describe(), indent=2))
    except AcuityError as error:
        print_error(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
