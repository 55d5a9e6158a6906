"""Which case to annotate next: the one that the model is least sure of, a random one, or the oldest."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from acuity.errors import AcuityError, ArchiveError

_PATIENCE_S = 30.0  # that an annotator waits for cases to be looked at which the model has not seen yet

_log = logging.getLogger(__name__)


class NextCase(Strategy):
    """A strategy by a function.

    Parameters
    ----------
    description : a sentence for people
    choose : from the ids of the cases without a final label, in the datastore's order, to one of them
    """

    def __init__(self, description: str, choose: Callable[[list[str], Datastore], str]) -> None:
        super().__init__(description)
        self._choose = choose

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The next case; None where all are annotated."""
        waiting = datastore.get_unlabeled_images()
        return {"id": self._choose(waiting, datastore)} if waiting else None


def anyone(waiting: list[str], datastore: Datastore) -> str:
    """One of the cases, each as likely as the others."""
    return secrets.choice(waiting)


def oldest(waiting: list[str], datastore: Datastore) -> str:
    """The case that was shown longest ago, those that never were first; of equals the one that came in first."""

    def age(image_id: str) -> tuple[int, float]:
        info = datastore.get_image_info(image_id)
        shown = max((int(one.get("ts", 0)) for one in info.get("strategy", {}).values()), default=0)
        return shown, _arrival(image_id, datastore)

    return min(waiting, key=age)


def least_sure(doubt_of: Callable[[str], float | None], look: Callable[[str], float]) -> Callable[..., str]:
    """The case of the largest doubt.

    Cases that the served model has not seen yet are looked at first, as many as the annotator has patience for and one
    at least; the others have their turn at the next request, or in a batch inference.

    Parameters
    ----------
    doubt_of : of a case by its id, None where it is not known
    look : runs the model on a case and returns its doubt
    """

    def choose(waiting: list[str], datastore: Datastore) -> str:
        known = {image_id: doubt_of(image_id) for image_id in waiting}
        until = time.monotonic() + _PATIENCE_S
        unseen = [image_id for image_id, value in known.items() if value is None]
        for number, image_id in enumerate(unseen):
            if number and time.monotonic() > until:
                _log.info("%d of %d cases were not looked at yet", len(unseen) - number, len(waiting))
                break
            try:
                known[image_id] = look(image_id)
            except ArchiveError:
                raise
            except AcuityError as error:
                # One that cannot be segmented is no reason to show none.
                _log.warning("a case was passed over: %s", error.code)
        found = {image_id: value for image_id, value in known.items() if value is not None}
        return max(found, key=lambda image_id: found[image_id]) if found else waiting[0]

    return choose


def _arrival(image_id: str, datastore: Datastore) -> float:
    """When the file of the image was written, seconds since 1970; in an archive, when it was first fetched."""
    return Path(datastore.get_image_uri(image_id)).stat().st_mtime
