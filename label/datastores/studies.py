"""Which studies of an archive are cases: their four series, found by the library's rules from headers alone."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from acuity import __version__
from acuity.anatomy import Sequence
from acuity.dicom.reading.read import load_stack, study_from_headers
from acuity.dicom.reading.study import Stack
from acuity.dicom.selection.select import Selection, select_sequences
from acuity.errors import AcuityError, ArchiveError
from acuity.research.datasets.brats import FILE_SUFFIX
from acuity.volume import Volume
from label.case import write_case
from label.datastores.dicomweb import Archive, SeriesEntry
from label.files import remembered, scratch_folder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyCase:
    """A complete study: the UID of the series that was chosen for each sequence."""

    study_uid: str
    series: Mapping[Sequence, str]

    def sequence_of(self, series_uid: str) -> Sequence | None:
        """The sequence of a series; T1c where one series holds T1 and T1c, None where it was not chosen."""
        return next((s for s in (Sequence.T1C, *Sequence) if self.series[s] == series_uid), None)


class Studies:
    """Cases in an archive, and a private cache of choices and images.

    The cache never answers for the archive: each question begins with a query, and a cached answer counts only if
    the query still gives the same series with the same numbers of images, or, before a case is opened, the same
    images. It may be deleted while the server is stopped.

    Parameters
    ----------
    archive : where the studies are
    cache : folder, readable by this user only; made if absent
    """

    def __init__(self, archive: Archive, cache: Path) -> None:
        self._archive = archive
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)

    def complete(self, entries: Mapping[str, list[SeriesEntry]]) -> list[StudyCase]:
        """The complete studies among the series by study, in the order of the studies' UIDs."""
        found = []
        for study_uid, series in sorted(entries.items()):
            try:
                case = self._find(study_uid, series)
            except ArchiveError as error:
                _log.warning("a study is left out: %s", error)
                continue
            if case is not None:
                found.append(case)
        return found

    def require(self, study_uid: str, entries: list[SeriesEntry]) -> StudyCase:
        """The case that a study's series make.

        Raises
        ------
        SelectionError, SeriesError : they make none, see ``acuity.dicom.selection.select``
        ArchiveError : the archive fails
        """
        case = self._find(study_uid, entries)
        if case is None:
            with scratch_folder(self._cache) as work:
                self._select(study_uid, [e.series_uid for e in entries if e.modality == "MR"], work)
            raise _changed()
        return case

    def folder_of(self, case: StudyCase) -> Path:
        """The folder with the four images of a case (see ``label.case``), fetched if the archive's are others.

        Raises
        ------
        ArchiveError : the archive fails, or the study changes meanwhile
        SeriesError, SelectionError : a series that was sound by its headers is not
        """
        folder = self._cache / case.study_uid / "cases" / self._digest(case)
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / ".lock"):
            if not folder.is_dir():
                self._fetch(case, folder)
        return folder

    def _find(self, study_uid: str, entries: list[SeriesEntry]) -> StudyCase | None:
        """The case that a study's series make, None if they make none; ``require`` says why."""
        state = {e.series_uid: e.count for e in sorted(entries, key=lambda e: e.series_uid) if e.modality == "MR"}
        if not state:
            return None
        known = None if -1 in state.values() else {"version": __version__, "series": state}
        file = self._cache / study_uid / "selection.json"
        chosen = remembered(file, known, lambda: self._choose(study_uid, list(state)))
        return StudyCase(study_uid, {s: chosen[s.value] for s in Sequence}) if chosen else None

    def _choose(self, study_uid: str, series: list[str]) -> dict[str, str]:
        """The UIDs of the chosen series by sequence; empty where the study is no case."""
        try:
            with scratch_folder(self._cache) as work:
                choices = self._select(study_uid, series, work).choices
        except ArchiveError:
            raise
        except AcuityError as error:
            _log.info("a study is no case: %s", error.code)
            return {}
        return {sequence.value: choice.series.series_uid for sequence, choice in choices.items()}

    def _fetch(self, case: StudyCase, folder: Path) -> None:
        with scratch_folder(folder.parent) as work:
            series = [entry.series_uid for entry in self._archive.series(case.study_uid, Modality="MR")]
            choices = self._select(case.study_uid, series, work).choices
            volumes = {s: self._load(choice.stack) for s, choice in choices.items()}
            again = StudyCase(case.study_uid, {s: choice.series.series_uid for s, choice in choices.items()})
            if again != case or self._digest(again) != folder.name:
                raise _changed()
            (work / "case").mkdir()
            write_case(work / "case", volumes)
            for superseded in folder.parent.iterdir():
                if superseded.is_dir() and superseded != work:
                    shutil.rmtree(superseded)
            os.replace(work / "case", folder)

    def _select(self, study_uid: str, series: list[str], work: Path) -> Selection:
        """Select by headers; pixels, where they are needed, are fetched into ``work``."""
        headers: list[Dataset] = []
        for uid in series:
            for ds in self._archive.headers(study_uid, uid):
                if ds.get("SOPClassUID") == SegmentationStorage:
                    _log.warning("a segmentation is passed over: it lies in a series of images")
                    continue
                ds.filename = str(work / uid / f"{ds.SOPInstanceUID}.dcm")
                headers.append(ds)
        return select_sequences(study_from_headers(headers), load=self._load)

    def _load(self, stack: Stack) -> Volume:
        first = stack.datasets[0]
        folder = Path(first.filename).parent
        if not folder.is_dir():
            self._archive.download(str(first.StudyInstanceUID), folder.name, folder)
        return load_stack(stack)

    def _digest(self, case: StudyCase) -> str:
        """A digest that changes when any image of the case is added or taken away."""
        uids = {uid: self._archive.instance_uids(case.study_uid, uid) for uid in sorted(set(case.series.values()))}
        chosen = [case.series[sequence] for sequence in Sequence]
        return hashlib.sha256(json.dumps([__version__, chosen, uids]).encode()).hexdigest()[:32]


def image_path(folder: Path, sequence: Sequence) -> Path:
    """The image of a sequence in a folder of ``Studies.folder_of``."""
    return folder / f"{FILE_SUFFIX[sequence]}.nii.gz"


def _changed() -> ArchiveError:
    return ArchiveError(
        "The study has changed while it was read.",
        rule="A study is read as one.",
        remedy="Try again when it has arrived as a whole.",
    )
