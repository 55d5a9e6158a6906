"""The models that the server runs: the released bundles, and versions of the segmentation that were fine-tuned.

``python -m label.versions list|serve|back --models FOLDER`` shows and changes the version that a server serves.
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
from functools import cached_property
from pathlib import Path
from typing import Any

from acuity.console import print_error
from acuity.errors import AcuityError, BundleError, DataError
from acuity.models.bundle import Bundle, load_bundle
from acuity.pipeline.stages import SEGMENTATION_BUNDLE, SUPER_RESOLUTION_BUNDLE
from acuity.resources import file_sha256
from acuity.signals import end_on_signals
from label.files import write_json, write_whole

TUMOR = "tumor_segmentation"  # name of the task, of its training and of the folder of its versions
RELEASED = 0  # the number of the bundle as it was released
_FILE = "served.json"


@dataclass(frozen=True)
class Candidate:
    """A model that a training made.

    Parameters
    ----------
    number : 1 for the first, then counted up; 0 is the released bundle, which is no candidate
    parent : number of the version that the training started from
    weights_sha256 : of its file of weights
    served : whether it passed the gate when it was made
    reason : a sentence for people on why it did or did not
    figures : of "candidate" and of "served", the model it was compared with, on the validation cases
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
    """The versions of one released bundle, in a folder of their own.

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
        self._candidates = folder / "candidates"
        self._loaded: tuple[int, Bundle] | None = None

    @property
    def served(self) -> int:
        """Number of the version that is served; DataError where the file that says so is damaged."""
        return self._history()[-1]

    def bundle(self) -> Bundle:
        """The served version, kept in memory until another is served.

        Its version reads as "0.3.0+2" for candidate 2 of release 0.3.0.

        Raises
        ------
        BundleNotFoundError, BundleError : as ``load_bundle``; or its weights are not those that were measured
        DataError : there is no such candidate
        """
        served = self.served
        if self._loaded is None or self._loaded[0] != served:
            self._loaded = served, self._load(served)
        return self._loaded[1]

    def weights(self, number: int) -> Path:
        """The file of weights of a version."""
        if number == RELEASED:
            return self.bundles / self.name / "models" / "model.pt"
        return self._candidates / f"{number:04d}.pt"

    def candidates(self) -> list[Candidate]:
        """All, oldest first; raises as ``candidate``."""
        return [self.candidate(number) for number in self._numbers()]

    def candidate(self, number: int) -> Candidate:
        """One of them; DataError where it is not there, or damaged."""
        try:
            return Candidate(**json.loads(self._statement(number).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"Version {number} of {self.name} cannot be read ({type(error).__name__}).",
                rule="A version is 0, the released bundle, or a candidate that a training made.",
                remedy="`python -m label.versions list` shows those that there are.",
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
        """Keep a trained model, whose state_dict is copied, and serve it if it passed; see ``Candidate``."""
        number = 1 + max(self._numbers(), default=RELEASED)
        write_whole(self.weights(number), lambda path: shutil.copyfile(weights, path))
        digest, made = file_sha256(self.weights(number)), datetime.now(UTC).isoformat(timespec="seconds")
        candidate = Candidate(number, parent, digest, passed, reason, figures, training, made)
        write_json(asdict(candidate), self._statement(number))
        if passed:
            self.serve(number)
        return candidate

    def serve(self, number: int) -> None:
        """Serve this version from now on, once it was seen to load; raises as ``bundle``."""
        history = self._history()
        if number != history[-1]:
            self._load(number)
            write_json({"served": [*history, number]}, self.folder / _FILE)

    def back(self) -> int:
        """Serve the version that was served before; returns its number. DataError where there is none."""
        history = self._history()
        if len(history) == 1:
            raise DataError(
                f"{self.name} is served as version {history[-1]}, the first one.",
                rule="The way back leads to a version that was served before.",
                remedy="There is none: nothing has to be done.",
            )
        self._load(history[-2])
        write_json({"served": history[:-1]}, self.folder / _FILE)
        return history[-2]

    def describe(self) -> dict[str, Any]:
        """The served version and all candidates, as JSON."""
        served = self.served
        return {"bundle": self.name, "served": served, "candidates": [asdict(one) for one in self.candidates()]}

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self._candidates.glob("[0-9]*.json"))

    def _statement(self, number: int) -> Path:
        return self._candidates / f"{number:04d}.json"

    def _history(self) -> list[int]:
        """Numbers of the versions that were served, one after the other; the last is served now."""
        path = self.folder / _FILE
        if not path.is_file():
            return [RELEASED]
        try:
            history = [int(number) for number in json.loads(path.read_text())["served"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{_FILE} of {self.name} is damaged ({type(error).__name__}).",
                rule="It lists the numbers of the versions that were served.",
                remedy="Restore it, or delete it to serve the released bundle.",
            ) from error
        return history or [RELEASED]

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


class ServedModels:
    """Both models, each loaded when it is first asked for.

    Parameters
    ----------
    models : folder of the versions
    bundles : folder of the released bundles
    """

    def __init__(self, models: Path, bundles: Path) -> None:
        self._bundles = bundles
        self.versions = tumor_versions(models, bundles)

    @property
    def segmentation(self) -> Bundle:
        """The version that is served now; raises as ``Versions.bundle``."""
        return self.versions.bundle()

    @cached_property
    def super_resolution(self) -> Bundle:
        """The released one; raises as ``load_bundle``."""
        return load_bundle(self._bundles, SUPER_RESOLUTION_BUNDLE)


def tumor_versions(models: Path, bundles: Path) -> Versions:
    """The versions of the segmentation, below the folder of all models."""
    return Versions(models / TUMOR, bundles, SEGMENTATION_BUNDLE)


def main(argv: Seq[str] | None = None) -> int:
    """Show or change the served version; returns the exit code."""
    end_on_signals()
    parser = argparse.ArgumentParser(prog="python -m label.versions", description=__doc__)
    parser.add_argument("action", choices=("list", "serve", "back"))
    parser.add_argument("number", type=int, nargs="?", help="of the version to serve; 0 is the released bundle")
    parser.add_argument("--models", type=Path, required=True, metavar="FOLDER", help="the server's --models")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), metavar="FOLDER", help="(%(default)s)")
    args = parser.parse_args(argv)
    if (args.action == "serve") != (args.number is not None):
        parser.error("serve takes a number, the others none")
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
