"""A model's newer result takes the place of its older one: each press of "Find tumor" would else file another.

The archive loses nothing else. What a person has drawn or corrected stays, whatever it was based on, and so do the
results of other models and of the application.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from workbench.forward import Server
from workbench.refusal import Refusal

_log = logging.getLogger(__name__)

_JSON = "application/dicom+json"
# Of the DICOM JSON model.
_STUDY_UID, _SERIES_UID, _DESCRIPTION, _NUMBER = "0020000D", "0020000E", "0008103E", "00200011"
_SEGMENTS, _ALGORITHM_TYPE, _CREATOR = "00620002", "00620008", "00700084"
_IDENTIFICATION, _ALGORITHM_NAME = "00620007", "00660036"
_FIELDS = f"includefield={_DESCRIPTION}&includefield={_NUMBER}"


class Replaced:
    """Deletes the results that a newer one of the same kind has replaced.

    Parameters
    ----------
    dicomweb : of the archive
    orthanc : its own interface, for DICOMweb deletes nothing
    """

    def __init__(self, dicomweb: Server, orthanc: Server) -> None:
        self._dicomweb, self._orthanc = dicomweb, orthanc

    async def infer(self, series: str, answer: Callable[[], Awaitable[Response]]) -> Response:
        """Let a model answer, and take away what its new results replace.

        Parameters
        ----------
        series : UID of the series that the model is asked about; "" for none
        answer : asks the model; its results are stored before it returns
        """
        study, before = await self._known(series)
        response = await answer()
        if study and response.status_code == 200:
            try:
                await self._replace(study, before)
            except Refusal as refusal:  # the answer stands; what was to go is still there
                _log.warning("an older result is not replaced: %s", refusal.found)
        return response

    async def _known(self, series: str) -> tuple[str, dict[str, tuple[str, str]]]:
        """The study of a series and its segmentations; "" where the archive does not say."""
        try:
            study = await self._study_of(series) if series else ""
            return study, await self._segmentations(study) if study else {}
        except Refusal:
            return "", {}

    async def _study_of(self, series: str) -> str:
        found = await self._find("series", f"SeriesInstanceUID={series}&includefield={_STUDY_UID}")
        return _text(found[0], _STUDY_UID) if len(found) == 1 else ""

    async def _segmentations(self, study: str) -> dict[str, tuple[str, str]]:
        """Description and number of each series of segmentations, by its UID."""
        found = await self._find(f"studies/{study}/series", f"Modality=SEG&{_FIELDS}")
        return {_text(one, _SERIES_UID): (_text(one, _DESCRIPTION), _text(one, _NUMBER)) for one in found}

    async def _replace(self, study: str, before: dict[str, tuple[str, str]]) -> None:
        now = await self._segmentations(study)
        for new in now.keys() - before.keys():
            rivals = [old for old in before.keys() & now.keys() if before[old] == now[new]]
            model = await self._model(study, new) if rivals else None
            for old in rivals:
                if model is not None and await self._model(study, old) == model:
                    await self._delete(old)

    async def _model(self, study: str, series: str) -> str | None:
        """The model that alone made all objects of a series; None where a person had a hand in it."""
        found = await self._find(f"studies/{study}/series/{series}/metadata", "")
        models = {_model_of(header) for header in found}
        return models.pop() if len(models) == 1 else None

    async def _delete(self, series: str) -> None:
        found = json.loads((await self._orthanc.ask("POST", "tools/lookup", series.encode())).content)
        ids = [one["ID"] for one in found if one["Type"] == "Series"]
        if len(ids) == 1:
            await self._orthanc.ask("DELETE", f"series/{ids[0]}")
            _log.info("a model's older result is replaced by its newer one")

    async def _find(self, path: str, query: str) -> list[dict[str, Any]]:
        answer = await self._dicomweb.read(path, query.encode(), _JSON)
        found = json.loads(answer.content or b"[]")
        return found if isinstance(found, list) else []


def _model_of(header: dict[str, Any]) -> str | None:
    """As ``label.datastores.segmentations`` tells it: viewers keep the type of segments, but not what identifies."""
    segments = header.get(_SEGMENTS, {}).get("Value") or []
    names = {_text((one.get(_IDENTIFICATION, {}).get("Value") or [{}])[0], _ALGORITHM_NAME) for one in segments}
    automatic = all(_text(one, _ALGORITHM_TYPE) == "AUTOMATIC" for one in segments)
    if not automatic or len(names) != 1 or header.get(_CREATOR, {}).get("Value"):
        return None
    return names.pop() or None


def _text(item: dict[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])
