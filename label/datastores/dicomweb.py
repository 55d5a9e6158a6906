"""The client of an archive (PACS) behind DICOMweb; its faults become errors in Acuity's words."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from acuity.errors import ArchiveError, DataError
from label.soundness import is_uid

_TIMEOUT_S = (10.0, 300.0)  # to connect, and between two packets of an answer
_SERIES_FIELDS = ["StudyInstanceUID", "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances"]
# In the DICOM JSON model.
_STUDY_UID, _SERIES_UID, _SOP_INSTANCE_UID = "0020000D", "0020000E", "00080018"
# By the status of the archive's answer.
_REMEDIES = {
    401: "Give the server a user and a password that the archive knows.",
    403: "Let the archive's administrator grant the right.",
    404: "It may have been deleted: list the images again.",
}
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

_log = logging.getLogger(__name__)


class InvalidAnswerError(ArchiveError):
    """The archive answers, but an object that it holds is not as DICOM demands."""


@dataclass(frozen=True)
class SeriesEntry:
    """A series as a query lists it; ``count`` is how many instances it has, -1 where the archive does not say."""

    study_uid: str
    series_uid: str
    modality: str
    count: int


class Archive:
    """QIDO-RS, WADO-RS and STOW-RS (PS3.18) of one archive.

    Reads are tried again where a connection breaks; a store is not, because it might be done twice.

    Parameters
    ----------
    url : of the DICOMweb service, for example http://127.0.0.1:8042/dicom-web
    username, password : for HTTP basic authentication; None for none
    """

    def __init__(self, url: str, username: str | None = None, password: str | None = None) -> None:
        self.url = url.rstrip("/")
        session = requests.Session()
        if username is not None:
            session.auth = (username, password or "")
        retries = Retry(
            3, backoff_factor=0.3, allowed_methods={"GET"}, status_forcelist=(502, 503, 504), raise_on_status=False
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, _NewConnections(max_retries=retries))
        try:
            self._client = DICOMwebClient(self.url, session=session, timeout=_TIMEOUT_S, permissive_uid=True)
        except ValueError as error:
            raise ArchiveError(
                "The address of the archive is not valid.",
                rule="It is http(s)://HOST[:PORT]/PATH.",
                remedy="Correct it.",
            ) from error
        self._client.set_http_retry_params(retry=False)

    def studies(self, **filters: str) -> set[str]:
        """The UIDs of the studies that match ``filters`` (keywords and values, as QIDO-RS has them)."""
        with _explained("list its studies"):
            found = _all_pages(
                self._client.search_for_studies, _STUDY_UID, fields=["StudyInstanceUID"], search_filters=filters or None
            )
            return set(filter(_sound, found))

    def series(self, study_uid: str | None = None, **filters: str) -> list[SeriesEntry]:
        """The series of a study, or of all, that match ``filters`` (keywords and values, as QIDO-RS has them)."""
        query: dict[str, Any] = {"fields": _SERIES_FIELDS, "search_filters": filters or None}
        with _explained("list its series"):
            if study_uid is None and "SeriesInstanceUID" not in filters:
                items = list(_all_pages(self._client.search_for_series, _SERIES_UID, **query).values())
            else:
                items = self._client.search_for_series(study_uid, **query)
            entries = [_entry(_header(item), study_uid) for item in items]
        # An archive takes any text for a UID. One bad object must not hide the others.
        sound = [entry for entry in entries if _sound(entry.study_uid) and _sound(entry.series_uid)]
        return list({entry.series_uid: entry for entry in sound}.values())

    def instance_uids(self, study_uid: str, series_uid: str) -> list[str]:
        """The SOP Instance UIDs of a series, sorted."""
        with _explained("list the images of a series"):
            found = self._client.search_for_instances(study_uid, series_uid, fields=["SOPInstanceUID"])
            return sorted(str(item[_SOP_INSTANCE_UID]["Value"][0]) for item in found)  # a dataset of each takes long

    def headers(self, study_uid: str, series_uid: str) -> list[Dataset]:
        """The headers of a series' instances, without pixels."""
        with _explained("give the headers of a series"):
            return [_header(item) for item in self._client.retrieve_series_metadata(study_uid, series_uid)]

    def header(self, study_uid: str, series_uid: str) -> Dataset:
        """The header of one instance of a series, without pixels."""
        with _explained("give the header of an image"):
            found = self._client.search_for_instances(study_uid, series_uid, limit=1, fields=["SOPInstanceUID"])
            sop_uid = checked_uid(str(found[0][_SOP_INSTANCE_UID]["Value"][0]))
            return _header(self._client.retrieve_instance_metadata(study_uid, series_uid, sop_uid))

    def download(self, study_uid: str, series_uid: str, folder: Path) -> None:
        """Write each instance of a series to ``folder``/SOPInstanceUID.dcm; the folder is made if absent."""
        folder.mkdir(parents=True, exist_ok=True)
        with _explained("give the images of a series"):
            for ds in self._client.iter_series(study_uid, series_uid):
                ds.save_as(folder / f"{checked_uid(str(ds.SOPInstanceUID))}.dcm", enforce_file_format=True)

    def instance(self, study_uid: str, series_uid: str, sop_uid: str) -> Dataset:
        """One whole instance."""
        with _explained("give an object"):
            return self._client.retrieve_instance(study_uid, series_uid, sop_uid)

    def store(self, files: list[Path]) -> None:
        """Store DICOM files.

        Raises
        ------
        ArchiveError : the archive cannot be reached, or takes not all of them
        """
        with _explained("store an object"):
            for file in files:
                answer = self._client.store_instances([dcmread(file)])
                failed = answer.get("FailedSOPSequence")
                if failed:
                    raise ArchiveError(
                        f"The archive refused an object (reason {failed[0].get('FailureReason')}).",
                        rule="It must store what is sent to it.",
                        remedy="Look into its log.",
                    )


class _NewConnections(HTTPAdapter):
    """Opens a connection for each request: Orthanc drops idle ones, also those that it promised to keep."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request once the idle connections are closed."""
        request.headers["Connection"] = "close"
        # A query may hold wildcards as they are (RFC 3986 section 3.4), and Orthanc knows them in no other form.
        address, mark, query = str(request.url).partition("?")
        request.url = address + mark + query.replace("%2A", "*").replace("%3F", "?")
        self.poolmanager.clear()
        return super().send(request, *args, **kwargs)


def checked_uid(text: str) -> str:
    """A UID (PS3.5 section 9.1), so that it may stand in an address or a path; DataError where it is none."""
    if not is_uid(text):
        raise DataError(
            f"{text[:64]!r} is no UID.", rule="An image's id is the UID of its series.", remedy="List the images."
        )
    return text


def _sound(uid: str) -> bool:
    if not is_uid(uid):
        _log.warning("an object of the archive is passed over: one of its UIDs is none")
    return is_uid(uid)


def _all_pages(search: Callable[..., list[dict[str, Any]]], key: str, **query: Any) -> dict[str, dict[str, Any]]:
    """The answers of a search by their UIDs, page by page.

    The client's own way to all pages goes on for ever where an archive disregards the offset, as Orthanc does in
    searches by ModalitiesInStudy. One that changes while it is listed may come twice.
    """
    found: dict[str, dict[str, Any]] = {}
    read = 0
    while True:
        page = search(offset=read, **query)
        new = {str(item[key]["Value"][0]): item for item in page}
        if new.keys() <= found.keys():
            return found
        found |= new
        read += len(page)


def _entry(ds: Dataset, study_uid: str | None) -> SeriesEntry:
    count = ds.get("NumberOfSeriesRelatedInstances")
    return SeriesEntry(
        str(ds.get("StudyInstanceUID") or study_uid),
        str(ds.SeriesInstanceUID),
        str(ds.get("Modality") or ""),
        -1 if count is None else int(count),
    )


def _header(item: Mapping[str, Any]) -> Dataset:
    """A dataset of the DICOM JSON model (PS3.18 annex F); data behind an address is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on values quote them, and values identify patients
        ds = Dataset.from_json(dict(item), bulk_data_uri_handler=lambda tag, vr, uri: None)
    for keyword in _PIXELS:
        if keyword in ds:
            delattr(ds, keyword)
    return ds


@contextmanager
def _explained(task: str) -> Iterator[None]:
    """Turn the faults of a request into an ArchiveError without values from the archive's answer."""
    asked = f"The archive was asked to {task} and"
    rule, remedy = "It must answer as DICOMweb demands (PS3.18).", "Look into the archive's log."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in _header
            yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        found = f"{asked} answered with HTTP status {status}."
        raise ArchiveError(found, rule=rule, remedy=_REMEDIES.get(status, remedy)) from error
    except requests.JSONDecodeError as error:
        raise ArchiveError(f"{asked} gave an answer that is not JSON.", rule=rule, remedy=remedy) from error
    except requests.RequestException as error:
        raise ArchiveError(
            f"{asked} cannot be reached ({type(error).__name__}).",
            rule="It must run and be reachable from the label server.",
            remedy="Start it, or correct its address.",
        ) from error
    except (AttributeError, LookupError, TypeError, ValueError, EOFError, RecursionError) as error:
        found = f"{asked} gave an answer that is not valid ({type(error).__name__})."
        raise InvalidAnswerError(found, rule=rule, remedy=remedy) from error
