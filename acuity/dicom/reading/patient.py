"""Whether all images of a study are of one patient, as far as their headers tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from pydicom import Dataset

from acuity.dicom.reading.headers import quiet_text
from acuity.errors import SeveralStudiesError

# What may be said of a patient, and the texts that say something; others are an anonymizer's or a typist's.
_FACTS = {
    "PatientID": ("patient IDs", r".+"),
    "PatientBirthDate": ("birth dates", r"(?!0000|19000101)[0-9]{8}"),
    "PatientSex": ("sexes", r"[MFO]"),
}


def check_one_patient(headers: Iterable[Dataset]) -> None:
    """Refuse images that state two IDs, birth dates or sexes, or names that have no word in common.

    Raises
    ------
    SeveralStudiesError : they do; the values are not told
    """
    datasets = list(headers)
    for keyword, (what, valid) in _FACTS.items():
        texts = {quiet_text(ds, keyword).strip() for ds in datasets}
        _refuse(len({text for text in texts if re.fullmatch(valid, text)}), what)
    names = {_words(ds) for ds in datasets} - {frozenset()}
    if any(not one & two for one in names for two in names):
        _refuse(len(names), "names of patients")


def _refuse(count: int, what: str) -> None:
    if count > 1:
        raise SeveralStudiesError(
            f"The input holds one study UID with {count} {what}.",
            rule="A study belongs to one patient.",
            remedy="Have the archive's administrator put the study right.",
        )


def _words(ds: Dataset) -> frozenset[str]:
    return frozenset(re.split(r"[\W_]+", quiet_text(ds, "PatientName").casefold())) - {""}


class Patients:
    """What all images of a study say of the patient, to compare a series with."""

    def __init__(self, study: Iterable[Dataset]) -> None:
        datasets = list(study)
        self._identified = any(quiet_text(ds, "PatientID") for ds in datasets)
        self._names = Counter(words for ds in datasets if (words := _words(ds)))

    def warnings(self, series: Iterable[Dataset]) -> list[str]:
        """What a series leaves out that others of the study state, or writes otherwise than most images."""
        datasets = list(series)
        notes = []
        if self._identified and not all(quiet_text(ds, "PatientID") for ds in datasets):
            notes.append("PatientID is absent here, but not in all series: check that they are of one patient.")
        usual = {words for words, _ in self._names.most_common(1)}
        if {_words(ds) for ds in datasets} - {frozenset()} - usual:
            notes.append("The patient's name is written otherwise in other series: check that they are of one patient.")
        return notes
