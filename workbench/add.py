"""`python -m workbench add`: bring studies of one's own into the archive, through the gateway."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from tqdm import tqdm

from acuity.console import printable
from acuity.errors import InputNotFoundError, NoDicomError, OutputError, WorkbenchError
from workbench.identity import read_or_make_token
from workbench.settings import Settings, own_address

_SECONDS = 300.0
_LATER = "no-images"  # the gateway's code for a segmentation that comes before its images
_MARK = slice(128, 132)  # of the DICOM file format
_MOST_NAMED = 5  # files that a line of the table names


@dataclass
class Report:
    """What became of the files.

    Parameters
    ----------
    came : objects by series and outcome; a series is its modality, number and description
    refused : files by the reason
    others : how many files are no DICOM files
    """

    came: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: dict[str, list[str]] = field(default_factory=dict)
    others: int = 0

    def lines(self) -> list[str]:
        """The tables, for a terminal: what came in, and what was refused and why."""
        lines = [f"{'objects':>8}  {'outcome':<8}  series"] if self.came else []
        words = {"stored": "new", "present": "known"}
        lines += [f"{n:>8}  {words[outcome]:<8}  {series}" for (series, outcome), n in sorted(self.came.items())]
        for reason, files in sorted(self.refused.items()):
            more = f", and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
            lines += [f"Refused: {len(files)}. {reason}", f"  {', '.join(files[:_MOST_NAMED])}{more}"]
        if self.others:
            lines.append(f"Passed over: {self.others} files that are not in the DICOM file format")
        return [printable(line) for line in lines]


def add(folders: list[Path], settings: Settings, say: Callable[[str], None], token: Path | None = None) -> None:
    """Send every DICOM file below the folders, and say what came in and what did not.

    Parameters
    ----------
    token : file with the bearer token of a person; the workbench's own token unless given

    Raises
    ------
    InputNotFoundError, NoDicomError
        For a folder that is not there, and where no file is a DICOM file.
    WorkbenchError
        Where the gateway does not answer, does not let this person add, or refuses an object; all others are in.
    """
    for folder in folders:
        if not folder.exists():
            raise InputNotFoundError(f"{folder} does not exist.", remedy="Give folders or files that exist.")
    files = [(file, str(file.relative_to(folder.parent))) for folder in folders for file in _files(folder)]
    dicom = [(file, name) for file, name in files if _is_dicom(file)]
    report = Report(others=len(files) - len(dicom))
    if not dicom:
        raise NoDicomError(f"None of {len(files)} files is in the DICOM file format.", remedy="Export the study again.")
    with _client(settings, token) as client:
        _check_may_add(client)
        left, code = dicom, ""
        for last in (False, True):  # segmentations may come before their images
            later = []
            for file, name in tqdm(left, desc="Adding", unit="file", leave=False, disable=None):
                answer = _send(client, file)
                code = "" if answer.status_code == 200 else str(answer.json().get("code"))
                if code == _LATER and not last:
                    later.append((file, name))
                elif code:
                    report.refused.setdefault(_reason(answer), []).append(name)
                else:
                    told = answer.json()
                    report.came[f"{told['modality']} {told['number']} {told['series']}", told["outcome"]] += 1
            left = later
    for line in report.lines():
        say(line)
    if report.refused:
        count = sum(map(len, report.refused.values()))
        found = f"{count} of {len(dicom)} objects were refused; the others are in the archive."
        raise WorkbenchError(
            found, rule="The table says why.", remedy="Correct them at their source, or leave them out."
        )


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        yield folder
        return
    for place, _, names in sorted(os.walk(folder)):
        yield from (file for name in sorted(names) if (file := Path(place) / name).is_file())


def _is_dicom(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(_MARK.stop)[_MARK] == b"DICM"
    except OSError as error:
        raise InputNotFoundError(f"{file} cannot be opened: {error.strerror}.", remedy="Correct its rights.") from error


def _client(settings: Settings, token: Path | None) -> httpx2.Client:
    try:
        credential = token.read_text().strip() if token else read_or_make_token(settings.token_file)[0]
    except OSError as error:
        raise OutputError(f"The token cannot be read: {error.strerror}.", remedy="Name another file.") from error
    headers = {"authorization": f"Bearer {credential}", "host": urlsplit(settings.url).netloc}
    # It is this computer's own gateway; its certificate is made out to its public name.
    return httpx2.Client(
        base_url=own_address(settings), headers=headers, timeout=_SECONDS, trust_env=False, verify=False
    )


def _check_may_add(client: httpx2.Client) -> None:
    answer = _asked(client, "GET")
    if answer.status_code != 200 or not answer.json().get("may_add"):
        raise WorkbenchError(
            "This account may not add studies." if answer.status_code == 200 else _reason(answer),
            rule="The workbench's token may, and those whom its configuration names (`adders`).",
            remedy="Give the file with the token of one who may: --token FILE.",
        )


def _send(client: httpx2.Client, file: Path) -> httpx2.Response:
    with file.open("rb") as stream:
        length = str(os.fstat(stream.fileno()).st_size)
        return _asked(
            client, "POST", content=stream, headers={"content-type": "application/dicom", "content-length": length}
        )


def _asked(client: httpx2.Client, method: str, **request: object) -> httpx2.Response:
    try:
        answer = client.request(method, "/add", **request)  # type: ignore[arg-type]
        answer.json()
    except (httpx2.HTTPError, ValueError) as error:
        found = f"The gateway does not answer at {client.base_url} ({type(error).__name__})."
        raise WorkbenchError(found, rule="The workbench must run.", remedy="python -m workbench up") from error
    return answer


def _reason(answer: httpx2.Response) -> str:
    told = answer.json()
    return f"{told.get('found', '')} {told.get('remedy', '')}".strip()
