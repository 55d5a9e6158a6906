"""Training as MONAI Label starts it: fine-tuning, or the way back to another version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from acuity.errors import DataError
from label.learning.cases import corrected_cases
from label.learning.training import Settings, fine_tune
from label.learning.versions import Versions

PREVIOUS = "previous"


class FineTuning(TrainTask):
    """Fine-tunes the segmentation on the cases that people corrected.

    Its status, with the last lines of the progress, is that of ``GET /train/``; what came out stands in ``train_stats``
    of ``/info/``.

    Parameters
    ----------
    versions : of the model
    folder : with the lists of patients
    """

    def __init__(self, versions: Versions, folder: Path) -> None:
        super().__init__("Fine-tunes the segmentation on corrected cases; serves the result if it is no worse")
        self._versions = versions
        self._folder = folder

    def config(self) -> dict[str, Any]:
        """What a request may hold, with the defaults."""
        defaults = Settings()
        return {"iterations": defaults.iterations, "learning_rate": defaults.learning_rate, "rollback": ""}

    def stats(self) -> dict[str, Any]:
        """The version that is served, and all that trainings made, with their figures."""
        return self._versions.describe()

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, or serve another version.

        Parameters
        ----------
        request : "iterations" of each stage, "learning_rate", "patch" and "seed"; or "rollback", the number of a
            version (0 is the released one) or "previous". Other keys, which viewers send, do not matter

        Raises
        ------
        DataError : a value is not valid, or there are too few corrected cases
        """
        back = request.get("rollback", "")
        if back == PREVIOUS:
            self._versions.back()
        elif back != "":
            self._versions.serve(_number(back, "rollback"))
        else:
            fine_tune(self._versions, self._folder, corrected_cases(datastore.datalist()), read_settings(request))
        return self.stats()


def read_settings(request: Mapping[str, Any]) -> Settings:
    """The settings of a request.

    Raises
    ------
    DataError : a value is not valid
    """
    defaults = Settings()
    patch = request.get("patch", defaults.patch)
    if not isinstance(patch, list | tuple) or len(patch) != 3:
        raise DataError(f"The patch is {str(patch)[:40]!r}.", rule="It has three sizes.", remedy="Send [48, 64, 48].")
    i, j, k = (_number(size, "patch") for size in patch)
    try:
        rate = float(request.get("learning_rate", defaults.learning_rate))
    except (TypeError, ValueError) as error:
        raise DataError(
            "The learning rate is no number.", rule="It is above 0 and at most 0.01.", remedy="Send 0.0002."
        ) from error
    return Settings(
        _number(request.get("iterations", defaults.iterations), "iterations"),
        rate,
        (i, j, k),
        _number(request.get("seed", defaults.seed), "seed"),
    )


def _number(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} is {str(value)[:40]!r}.", rule="It is a whole number.", remedy="Correct the request."
        ) from error
